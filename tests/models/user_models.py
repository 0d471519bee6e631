"""What a user might name as ``package.module:factory``: one good network, and the usual mistakes."""

from torch import nn

WIDTH = 8


def tiny(num_classes, input_shape):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], WIDTH, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.LazyLinear(num_classes)
    )


def without_classes(num_classes, input_shape):
    return nn.Flatten()


def two_outputs(num_classes, input_shape):
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    return Two()


def no_module(num_classes, input_shape):
    return "resnet18"


def no_arguments():
    return nn.Flatten()


def sized(num_classes, input_shape, width: int, *, bias: bool = False):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width, bias=bias), nn.LazyLinear(num_classes))


def with_options(num_classes, input_shape, **options):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(options.get("width", 2)), nn.LazyLinear(num_classes))


def changing(num_classes, input_shape, hidden):
    layers = [nn.Flatten()]
    while hidden:
        layers.append(nn.LazyLinear(hidden.pop()))
    return nn.Sequential(*layers, nn.LazyLinear(num_classes))
