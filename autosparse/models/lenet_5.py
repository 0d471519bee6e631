"""LeNet-5 as in the pruning literature: with Caffe's widths (Lee et al. 2019, SNIP; LeCun et al. 1998)."""

from torch import Tensor, nn

from autosparse.allowed import AtLeastOne
from autosparse.models import register_model


class LeNet5(nn.Module):
    """Two convolutions, each max-pooled, then a layer of ReLU units.

    As in Caffe and in SNIP's own code, no ReLU follows the convolutions: the pooling is their non-linearity. With 20
    and 50 filters and 500 units, 431,080 parameters on 28 x 28 grey images and 10 classes.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, ...], conv1: int = 20, conv2: int = 50, fc: int = 500):
        super().__init__()
        channels, *sides = input_shape
        height, width = (((side - 4) // 2 - 4) // 2 for side in sides)
        self.conv1 = nn.Conv2d(channels, conv1, kernel_size=5)
        self.conv2 = nn.Conv2d(conv1, conv2, kernel_size=5)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(conv2 * height * width, fc)
        self.fc2 = nn.Linear(fc, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> logits (batch, num_classes)."""
        x = self.pool(self.conv1(x))
        x = self.pool(self.conv2(x))
        return self.fc2(self.fc1(x.flatten(1)).relu())


@register_model("lenet-5", min_side=16)
def lenet_5(
    num_classes: int, input_shape: tuple[int, ...], conv1: AtLeastOne = 20, conv2: AtLeastOne = 50, fc: AtLeastOne = 500
) -> nn.Module:
    """LeNet-5-Caffe (20-50-500); 431,080 parameters for MNIST.

    :param conv1: filters of the first convolution.
    :param conv2: filters of the second.
    :param fc: units of the hidden layer.
    """
    return LeNet5(num_classes, input_shape, conv1, conv2, fc)
