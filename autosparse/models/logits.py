"""Networks whose forward returns more than logits, such as image classifiers of Hugging Face's transformers."""

from typing import Any

from torch import Tensor, nn


class Logits(nn.Module):
    """A network that returns the ``logits`` of ``model``'s output::

        model = Logits(ViTForImageClassification(config))

    Weights keep their names, with ``model.`` in front.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> logits (batch, num_classes)."""
        return self.model(x).logits


def has_logits(output: Any) -> bool:
    """Whether a forward's output is not a tensor but holds one under ``logits``."""
    return not isinstance(output, Tensor) and isinstance(getattr(output, "logits", None), Tensor)
