"""What every criterion takes."""

from collections.abc import Iterable

from torch import Tensor

from autosparse.loss import Loss

__all__ = ["Batches", "Loss"]

Batches = Iterable[tuple[Tensor, Tensor]]
