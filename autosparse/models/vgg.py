"""VGG-16 and VGG-19 with BatchNorm (Simonyan and Zisserman 2015), with either head of the pruning literature.

The convolutions are torchvision's, biases included, as AutoSparse's Appendix A.1 lists them.

The average head is that of GraSP, FORCE and ProsPr: four max-poolings, a global average in place of the fifth, and one
linear layer.

The 4096 head is that of AutoSparse's Appendix A.1: five max-poolings and linear layers 512 x 7 x 7 -> 4096 -> 4096 ->
classes. The paper does not say how a 32 x 32 image, whose last map is 1 x 1, fills 7 x 7. Here, as in torchvision,
adaptive average pooling repeats it. The paper lists no dropout, and there is none.
"""

from collections import OrderedDict

from torch import nn

from autosparse.allowed import AtLeastOne
from autosparse.models import register_model

WIDTH = 64
"""Channels of the first convolutions."""


@register_model("vgg16", min_side=16)
def vgg16(num_classes: int, input_shape: tuple[int, ...], width: AtLeastOne = WIDTH) -> nn.Module:
    """VGG-16 with BatchNorm and a global-average head; 14,728,266 parameters for CIFAR-10.

    :param width: channels of the first convolutions, 64 in the paper; all others scale with it.
    """
    return _average_head("D", num_classes, input_shape[0], width)


@register_model("vgg19", min_side=16)
def vgg19(num_classes: int, input_shape: tuple[int, ...], width: AtLeastOne = WIDTH) -> nn.Module:
    """VGG-19 with BatchNorm and a global-average head; 20,040,522 parameters for CIFAR-10.

    :param width: channels of the first convolutions, 64 in the paper; all others scale with it.
    """
    return _average_head("E", num_classes, input_shape[0], width)


@register_model("vgg16-4096", min_side=32)
def vgg16_4096(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """VGG-16 with BatchNorm and the 4096-4096 head; 134,309,962 parameters for CIFAR-10."""
    return _wide_head("D", num_classes, input_shape[0])


@register_model("vgg19-4096", min_side=32)
def vgg19_4096(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """VGG-19 with BatchNorm and the 4096-4096 head; 139,622,218 parameters for CIFAR-10."""
    return _wide_head("E", num_classes, input_shape[0])


def _average_head(letter: str, num_classes: int, channels: int, width: int) -> nn.Module:
    layers = {
        "features": _features(letter, channels, width)[:-1],  # without the fifth max-pooling
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(8 * width, num_classes),
    }
    return nn.Sequential(OrderedDict(layers))


def _wide_head(letter: str, num_classes: int, channels: int) -> nn.Module:
    from torchvision.models import VGG

    return VGG(_features(letter, channels), num_classes, init_weights=False, dropout=0.0)


def _features(letter: str, channels: int, width: int = WIDTH) -> nn.Sequential:
    """The convolutions of configuration ``letter`` in Table 1 of the VGG paper (D: 16 layers, E: 19)."""
    from torchvision.models.vgg import cfgs, make_layers  # here: torchvision takes seconds to import

    scaled = [size if size == "M" else int(size) * width // WIDTH for size in cfgs[letter]]
    layers: nn.Sequential = make_layers(scaled, batch_norm=True)
    layers[0] = nn.Conv2d(channels, width, kernel_size=3, padding=1)
    return layers
