"""DenseNet-121 (Huang et al. 2017) for small images."""

from torch import nn

from autosparse.allowed import AtLeastOne
from autosparse.models import register_model


@register_model("densenet121", min_side=8)
def densenet121(num_classes: int, input_shape: tuple[int, ...], growth: AtLeastOne = 32) -> nn.Module:
    """DenseNet-121 for small images (3x3 stride-1 stem, no max-pool); 6,956,426 parameters for CIFAR-10.

    A 32 x 32 image reaches the classifier as 4 x 4. The ImageNet original is ``torchvision:densenet121``.

    :param growth: channels that each layer adds; the stem has twice as many.
    """
    from torchvision.models import DenseNet  # here: torchvision takes seconds to import

    model = DenseNet(growth, (6, 12, 24, 16), 2 * growth, num_classes=num_classes)
    model.features.conv0 = nn.Conv2d(input_shape[0], 2 * growth, kernel_size=3, stride=1, padding=1, bias=False)
    model.features.pool0 = nn.Identity()
    return model
