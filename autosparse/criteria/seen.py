"""How many examples a network is shown while it is scored: the cost of a criterion that no machine changes."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


class Seen:
    """Counts examples; one that is shown twice counts twice."""

    count: int = 0


@contextlib.contextmanager
def counting(model: nn.Module) -> Iterator[Seen]:
    """Count the examples that go forward through ``model`` within the block, those of copies of it made there too."""
    seen = Seen()

    def show(_: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor):
            seen.count += len(given[0])

    handle = model.register_forward_pre_hook(show)
    try:
        yield seen
    finally:
        handle.remove()
