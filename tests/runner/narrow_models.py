"""ResNet-20 with 6-12-24 filters, VGG-16 with an eighth of its width, for a grid over all methods; a transformer."""

from collections import OrderedDict

import torch
from torch import nn
from torchvision.models.vgg import make_layers

from autosparse.models.resnet20 import BasicBlock
from autosparse.models.vit import VisionTransformer

VGG16 = [8, 8, "M", 16, 16, "M", 32, 32, 32, "M", 64, 64, 64, "M", 64, 64, 64]


def resnet20(num_classes, input_shape):
    stem = nn.Conv2d(input_shape[0], 6, kernel_size=3, padding=1, bias=False)
    layers = [("conv", stem), ("bn", nn.BatchNorm2d(6)), ("relu", nn.ReLU())]
    channels = 6
    for filters in (6, 12, 24):
        for index in range(3):
            stride = 2 if filters > 6 and index == 0 else 1
            layers.append((f"block{filters}_{index}", BasicBlock(channels, filters, stride)))
            channels = filters
    head = [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(channels, num_classes))]
    return nn.Sequential(OrderedDict([*layers, *head]))


def vgg16(num_classes, input_shape):
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes)]
    return nn.Sequential(*make_layers(VGG16, batch_norm=True), *head)


class Transformer(nn.Module):
    """Rows of an image attend to each other; their positions are learned, and no mask covers those parameters."""

    def __init__(self, rows: int, num_classes: int):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, rows, 4))
        self.embed, self.head = nn.Linear(rows, 4), nn.Linear(4, num_classes)
        self.layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, dropout=0.0, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x.flatten(1, 2)) + self.position
        logits: torch.Tensor = self.head(self.layer(x).mean(1))
        return logits


def transformer(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    return Transformer(input_shape[-2], num_classes)


def vit(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """``vit-tiny`` with a width of 24 and 2 layers."""
    return VisionTransformer(num_classes, input_shape, width=24, depth=2, heads=3)
