"""The type of every loss function in this package."""

from collections.abc import Callable

from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(logits, labels) -> scalar``, the mean over the batch."""
