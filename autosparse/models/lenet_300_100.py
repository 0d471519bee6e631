"""LeNet-300-100 (LeCun et al. 1998), the fully connected network of the pruning literature."""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from autosparse.allowed import AtLeastOne
from autosparse.models import register_model


class LeNet300100(nn.Module):
    """Hidden layers of ReLU units; with 300 and 100, 266,610 parameters on 28 x 28 images and 10 classes."""

    def __init__(self, num_classes: int, input_shape: tuple[int, ...], hidden: Sequence[int] = (300, 100)):
        super().__init__()
        units = (math.prod(input_shape), *hidden, num_classes)
        for number, (before, after) in enumerate(itertools.pairwise(units), 1):
            self.add_module(f"fc{number}", nn.Linear(before, after))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> logits (batch, num_classes)."""
        *hidden, last = self.children()
        x = x.flatten(1)
        for layer in hidden:
            x = layer(x).relu()
        return last(x)


@register_model("lenet-300-100")
def lenet_300_100(
    num_classes: int, input_shape: tuple[int, ...], hidden: tuple[AtLeastOne, ...] = (300, 100)
) -> nn.Module:
    """Fully connected 300-100 network, any input shape.

    :param hidden: units of each hidden layer.
    """
    return LeNet300100(num_classes, input_shape, hidden)
