"""A loss function, as everything here takes it."""

from collections.abc import Callable

from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(logits, labels) -> scalar``, the mean over the batch."""
