"""Batches as they pass by: what a criterion was given when something went wrong, and the shape of an input."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from autosparse.criteria.gradients import restored
from autosparse.criteria.types import NO_BATCHES, Batches
from autosparse.errors import AutosparseError


class Watch:
    """Passes batches on, refuses what is not a batch, and remembers the last input."""

    def __init__(self, batches: Batches):
        self.batches = batches
        self.last: Tensor | None = None

    def passed_on(self) -> Batches:
        """The batches, which can be iterated as often as those given; an iterator refuses a second time."""
        return _Once(iter(self)) if iter(self.batches) is self.batches else self

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.batches:
            is_pair = isinstance(batch, tuple | list) and len(batch) == 2
            if not (is_pair and all(isinstance(part, Tensor) for part in batch) and len(batch[0]) == len(batch[1])):
                raise AutosparseError(
                    f"batches must be an iterable of (x, y), tensors of one length; it holds a {type(batch).__name__}"
                )
            self.last = batch[0]
            yield batch[0], batch[1]

    def explain(self, model: nn.Module, error: Exception) -> None:
        """Raise :class:`AutosparseError` if the model does not take the last batch; else return."""
        if self.last is None:
            return
        shape, kind = tuple(self.last.shape), f"{self.last.dtype} on {self.last.device}"
        try:
            with torch.no_grad(), restored(model.buffers()):
                model(self.last)
        except (RuntimeError, ValueError, IndexError, TypeError) as reason:
            raise AutosparseError(
                f"{type(model).__name__} does not take a batch of shape {shape}, {kind}: {str(reason).splitlines()[0]}"
            ) from error


class _Once:
    """An iterator that says so if it is asked for more after its end, instead of giving nothing."""

    def __init__(self, batches: Iterator[tuple[Tensor, Tensor]]):
        self.batches, self.over = batches, False

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        if self.over:
            raise AutosparseError(
                "this criterion goes over the batches more than once, and an iterator gives them only once: "
                "pass list(batches)"
            )
        try:
            return next(self.batches)
        except StopIteration:
            self.over = True
            raise


def shape_of_input(criterion: str, batches: Batches | None, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """``given``, else the shape of an example of the first batch."""
    if given is not None:
        return tuple(given)
    if batches is None:
        raise AutosparseError(f"criterion {criterion!r} needs the shape of an input: pass input_shape, or batches")
    for x, _ in batches:
        return tuple(x.shape[1:])
    raise AutosparseError(f"{NO_BATCHES}: the shape of an input is not known")
