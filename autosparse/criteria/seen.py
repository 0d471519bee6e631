"""How many examples a network sees while it is scored: a cost of the criterion that is the same on every machine."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from autosparse.compaction.hooks import Onlooker


class Seen(Onlooker):
    """Counts examples; one that is seen twice counts twice."""

    count: int = 0

    def __call__(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Count the examples of a forward pass."""
        if inputs and isinstance(inputs[0], Tensor):
            self.count += len(inputs[0])


@contextlib.contextmanager
def counting(model: nn.Module) -> Iterator[Seen]:
    """Count the examples that pass through ``model``, and through copies and compact forms of it, within the block."""
    seen = Seen()
    with model.register_forward_pre_hook(seen):
        yield seen
