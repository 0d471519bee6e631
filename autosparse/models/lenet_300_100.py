"""LeNet-300-100 (LeCun et al. 1998), the fully connected network of the pruning literature."""

import math

from torch import Tensor, nn

from autosparse.models import register_model


class LeNet300100(nn.Module):
    """Two hidden layers of 300 and 100 ReLU units; 266,610 parameters on 28 x 28 images and 10 classes."""

    def __init__(self, num_classes: int, input_shape: tuple[int, ...]):
        super().__init__()
        self.fc1 = nn.Linear(math.prod(input_shape), 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> logits (batch, num_classes)."""
        x = self.fc1(x.flatten(1)).relu()
        return self.fc3(self.fc2(x).relu())


@register_model("lenet-300-100")
def lenet_300_100(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """Fully connected 300-100 network, any input shape."""
    return LeNet300100(num_classes, input_shape)
