"""Training or evaluation mode: BatchNorm and dropout make the gradients of the two differ."""

import contextlib
from collections.abc import Iterator

from torch import nn

TRAIN, EVAL = "train", "eval"
MODES = (TRAIN, EVAL)


@contextlib.contextmanager
def in_mode(model: nn.Module, mode: str | None) -> Iterator[None]:
    """Put all of ``model`` in ``mode`` (None: leave it) within the block, then each submodule back in its own mode."""
    before = [(module, module.training) for module in model.modules()]
    if mode is not None:
        model.train(mode == TRAIN)
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
