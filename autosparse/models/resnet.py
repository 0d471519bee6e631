"""ResNet-18 and ResNet-50 (He et al. 2016): torchvision's, with its ImageNet stem or the one used for small images."""

from typing import Any

from torch import nn

from autosparse.allowed import AtLeastOne
from autosparse.models import register_model

WIDTH = 64
"""Channels of the first stage."""


@register_model("resnet18", min_side=1)
def resnet18(num_classes: int, input_shape: tuple[int, ...], width: AtLeastOne = WIDTH) -> nn.Module:
    """ResNet-18 for small images (3x3 stride-1 stem, no max-pool); 11,173,962 parameters for CIFAR-10.

    :param width: channels of the first stage; each has twice those of the one before.
    """
    return _resnet("resnet18", num_classes, input_shape[0], width)


@register_model("resnet50", min_side=1)
def resnet50(num_classes: int, input_shape: tuple[int, ...], width: AtLeastOne = WIDTH) -> nn.Module:
    """ResNet-50 for small images (3x3 stride-1 stem, no max-pool); 23,520,842 parameters for CIFAR-10.

    :param width: channels of the first stage; each has twice those of the one before.
    """
    return _resnet("resnet50", num_classes, input_shape[0], width)


@register_model("resnet18-imagenet", min_side=1)
def resnet18_imagenet(num_classes: int, input_shape: tuple[int, ...], width: AtLeastOne = WIDTH) -> nn.Module:
    """ResNet-18 with the ImageNet stem (7x7 stride 2, max-pool); 11,689,512 parameters for ImageNet.

    :param width: channels of the first stage; each has twice those of the one before.
    """
    return _resnet("resnet18", num_classes, input_shape[0], width, imagenet=True)


@register_model("resnet50-imagenet", min_side=1)
def resnet50_imagenet(num_classes: int, input_shape: tuple[int, ...], width: AtLeastOne = WIDTH) -> nn.Module:
    """ResNet-50 with the ImageNet stem (7x7 stride 2, max-pool); 25,557,032 parameters for ImageNet.

    :param width: channels of the first stage; each has twice those of the one before.
    """
    return _resnet("resnet50", num_classes, input_shape[0], width, imagenet=True)


def _resnet(name: str, num_classes: int, channels: int, width: int, imagenet: bool = False) -> nn.Module:
    """Torchvision's network with either stem; with another width than its own, all layers are made anew."""
    from torchvision.models import get_model  # here: torchvision takes seconds to import

    model: Any = get_model(name, num_classes=num_classes)
    if width != WIDTH:
        block, stages = type(model.layer1[0]), [model.layer1, model.layer2, model.layer3, model.layer4]
        model.inplanes, model.bn1 = width, nn.BatchNorm2d(width)
        for number, stage in enumerate(stages):
            made = model._make_layer(block, width * 2**number, len(stage), stride=2 if number else 1)
            setattr(model, f"layer{number + 1}", made)
        model.fc = nn.Linear(width * 8 * block.expansion, num_classes)
    if imagenet:
        model.conv1 = nn.Conv2d(channels, width, kernel_size=7, stride=2, padding=3, bias=False)
    else:
        model.conv1 = nn.Conv2d(channels, width, kernel_size=3, stride=1, padding=1, bias=False)
        model.maxpool = nn.Identity()
    return model
