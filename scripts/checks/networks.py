"""ResNet-18 for machines without torchvision."""

from torch import Tensor, nn

from autosparse.models.resnet20 import BasicBlock


class ResNet18(nn.Module):
    """Four stages of two blocks with 64 to 512 filters behind a 3x3 stem (He et al. 2016), as ``resnet18`` is."""

    def __init__(self, num_classes: int, input_shape: tuple[int, ...]):
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], 64, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        blocks, channels = [], 64
        for filters in (64, 128, 256, 512):
            blocks += [BasicBlock(channels, filters, 1 if filters == 64 else 2), BasicBlock(filters, filters, 1)]
            channels = filters
        self.blocks, self.pool = nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> logits (batch, num_classes)."""
        x = self.blocks(self.bn1(self.conv1(x)).relu())
        return self.fc(self.pool(x).flatten(1))


def resnet18(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """The network that the model name ``checks.networks:resnet18`` stands for."""
    return ResNet18(num_classes, input_shape)
