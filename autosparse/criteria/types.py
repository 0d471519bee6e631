"""What every criterion takes."""

from collections.abc import Iterable

from torch import Tensor

from autosparse.loss import Loss

__all__ = ["NO_BATCHES", "Batches", "Loss"]

Batches = Iterable[tuple[Tensor, Tensor]]

NO_BATCHES = "the iterable of batches is empty (an iterator already used up?)"
"""The beginning of a message."""
