"""One pass over a split as batches that can be iterated repeatedly."""

from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""Images (batch, channels, height, width) float32 normalised, labels (batch,) int64."""


class Pass:
    """Batches of one pass; every iteration yields the same ones.

    The first time draws from ``shuffle`` itself, which thus moves on; each further time draws again what the first one
    drew, and leaves ``shuffle`` alone. ``next(batches)`` takes one batch after the other, as from an iterator.
    """

    def __init__(
        self, cut: Callable[[torch.Generator | None], Iterator[Batch]], shuffle: torch.Generator | None, count: int
    ):
        self._cut, self._shuffle, self._count = cut, shuffle, count
        self._state: Tensor | None = None
        self._taking: Generator[Batch, None, None] | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Generator[Batch, None, None]:
        shuffle = self._shuffle
        if shuffle is not None:
            if self._state is None:
                self._state = shuffle.get_state()
            else:
                shuffle = torch.Generator(shuffle.device).set_state(self._state)
        yield from self._cut(shuffle)

    def __next__(self) -> Batch:
        if self._taking is None:
            self._taking = iter(self)
        return next(self._taking)

    def close(self) -> None:
        """End what ``next`` has begun, with the processes that decode for it; the next one begins anew."""
        if self._taking is not None:
            self._taking.close()
            self._taking = None

    def __repr__(self) -> str:
        order = "in the stored order" if self._shuffle is None else "in a random order"
        return f"Pass({len(self)} batches, {order})"
