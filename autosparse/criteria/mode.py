"""Training or evaluation mode: BatchNorm and dropout compute other gradients in the one than in the other."""

import contextlib
from collections.abc import Iterator
from typing import Annotated

from torch import nn

from autosparse.criteria.options import OneOf

TRAIN, EVAL = "train", "eval"
MODES = (TRAIN, EVAL)
Mode = Annotated[str, OneOf(MODES)]
"""``train``: BatchNorm normalises by the batch, dropout drops out. ``eval``: BatchNorm takes its running statistics,
which at initialisation are 0 and 1, so that it does nothing; dropout does nothing either."""


@contextlib.contextmanager
def in_mode(model: nn.Module, mode: str | None) -> Iterator[None]:
    """Within the block all of ``model`` is in ``mode`` (None: as it is); after it each submodule is as it was."""
    before = [(module, module.training) for module in model.modules()]
    if mode is not None:
        model.train(mode == TRAIN)
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
