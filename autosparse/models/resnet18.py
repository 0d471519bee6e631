"""ResNet-18 (He et al. 2016) with the stem used for 32 x 32 images."""

from torch import nn

from autosparse.models import register_model


@register_model("resnet18")
def resnet18(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """ResNet-18 with a 3x3 stride-1 stem and no max-pool; 11,173,962 parameters for CIFAR-10."""
    from torchvision.models import resnet18 as torchvision_resnet18  # here: torchvision takes seconds to import

    model = torchvision_resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(input_shape[0], 64, kernel_size=3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model
