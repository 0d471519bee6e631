"""Small convolutional networks for tests of training."""

from torch import Tensor, nn

from autosparse.models import kaiming_normal_
from autosparse.seeds import generator


class Conv(nn.Module):
    """Two convolutions with BatchNorm on 1x8x8 images; ``dropout`` before the classifier."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(self.flat(self.conv2(self.bn1(self.conv1(x)).relu()).relu())))

    @staticmethod
    def flat(x: Tensor) -> Tensor:
        return x.flatten(1)


class ViewingConv(Conv):
    """Needs a contiguous feature map, as much old code does."""

    @staticmethod
    def flat(x: Tensor) -> Tensor:
        return x.view(len(x), -1)


def fresh(kind: type[Conv] = Conv, **options: float) -> nn.Module:
    """A network with the same weights every time."""
    return kaiming_normal_(kind(**options), generator("conv nets"))
