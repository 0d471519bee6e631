"""ResNet-20 for CIFAR (He et al. 2016, section 4.2), as in Frankle et al. (2021) and their open_lth."""

from torch import Tensor, nn

from autosparse.allowed import AtLeastOne
from autosparse.models import register_model


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: the identity or, if the shape changes, a 1x1 convolution."""

    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != filters:
            projection = nn.Conv2d(channels, filters, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(filters))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, filters, height / stride, width / stride)."""
        out = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(out)) + self.shortcut(x)).relu()


class ResNet20(nn.Module):
    """Three stages of ``blocks`` blocks, from ``width`` filters that double; by default 272,474 parameters."""

    def __init__(self, num_classes: int, input_shape: tuple[int, ...], width: int = 16, blocks: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(input_shape[0], width, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        layers, channels = [], width
        for filters in (width, 2 * width, 4 * width):
            for index in range(blocks):
                layers.append(BasicBlock(channels, filters, stride=2 if filters > width and index == 0 else 1))
                channels = filters
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> logits (batch, num_classes)."""
        x = self.blocks(self.bn(self.conv(x)).relu())
        return self.fc(self.pool(x).flatten(1))


@register_model("resnet20", min_side=1)
def resnet20(
    num_classes: int, input_shape: tuple[int, ...], width: AtLeastOne = 16, blocks: AtLeastOne = 3
) -> nn.Module:
    """ResNet-20 for small images (16-32-64 filters, 1x1 shortcuts); 272,474 parameters for CIFAR-10.

    :param width: filters of the first stage.
    :param blocks: blocks in each stage, of two convolutions; 5 make ResNet-32, 9 ResNet-56.
    """
    return ResNet20(num_classes, input_shape, width, blocks)
