"""MobileNetV2 (Sandler et al. 2018) for small images."""

from torch import nn

from autosparse.allowed import Positive
from autosparse.models import register_model

STAGES = (
    # expansion, channels, blocks, stride (of the first block)
    (1, 16, 1, 1),
    (6, 24, 2, 1),  # 2 in the paper's Table 2
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@register_model("mobilenet_v2", min_side=1)
def mobilenet_v2(num_classes: int, input_shape: tuple[int, ...], width: Positive = 1.0) -> nn.Module:
    """MobileNetV2 for small images (first two strides 1); 2,236,682 parameters for CIFAR-10.

    A 32 x 32 image reaches the classifier as 4 x 4. There is no dropout, so nothing in the network is random. The
    ImageNet original is ``torchvision:mobilenet_v2``.

    :param width: the paper's width multiplier of all channels.
    """
    from torchvision.models import MobileNetV2  # here: torchvision takes seconds to import

    model = MobileNetV2(num_classes, width, STAGES, dropout=0.0)
    stem = model.features[0][0].out_channels
    model.features[0][0] = nn.Conv2d(input_shape[0], stem, kernel_size=3, stride=1, padding=1, bias=False)
    return model
