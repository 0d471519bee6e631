"""How many examples a network sees while it is scored: a cost of the criterion that is the same on every machine."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


class Seen:
    """Counts examples; one that is seen twice counts twice."""

    count: int = 0


@contextlib.contextmanager
def counting(model: nn.Module) -> Iterator[Seen]:
    """Count the examples that pass through ``model``, and through copies made of it, within the block."""
    seen = Seen()

    def add(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            seen.count += len(inputs[0])

    with model.register_forward_pre_hook(add):
        yield seen
