"""Networks by name. A new one is one new file here whose factory carries ``@register_model``."""

import torch
from torch import nn

from autosparse.devices import host
from autosparse.models.registration import MODELS, ModelFactory, register_model
from autosparse.models.resolve import checked_name, find_model
from autosparse.seeds import derive_seed, drawing_from, generator

__all__ = ["MODELS", "ModelFactory", "build_model", "checked_name", "find_model", "kaiming_normal_", "register_model"]


def build_model(name: str, num_classes: int, input_shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    """Build a network at initialisation, on the CPU (on ``meta``, without memory, within ``torch.device("meta")``).

    Linear and Conv weights are Kaiming-normal (fan-in, gain sqrt 2; He et al. 2015), biases 0, normalisation layers the
    identity, and other weights as their own layer's constructor draws them. The same seed gives the same weights on
    every machine. Torch's generators, those of GPUs too, are left as they were.

    :param name: a registered model, ``torchvision:NAME``, ``timm:NAME`` or ``package.module:factory``, each with
        arguments in parentheses if it takes some, ``resnet20(width=32)`` (see :func:`find_model`).
    :param input_shape: shape of one example, e.g. ``(1, 28, 28)``.
    :raises AutosparseError: for an unknown name (with the nearest known one), or for an argument or an input shape that
        the network does not take.
    """
    factory = find_model(name)
    with host(), drawing_from(derive_seed(seed, "construction"), torch.device("cpu")):
        model = factory(num_classes, tuple(input_shape))
    return kaiming_normal_(model, generator(seed, "weights"))


@torch.no_grad()
def kaiming_normal_(model: nn.Module, draws: torch.Generator) -> nn.Module:
    """Initialise in place: Kaiming-normal Linear and Conv weights, zero biases.

    Everything else keeps what its own constructor draws: normalisation layers, embeddings, ConvTranspose, and the input
    projections of attention, whose softmax wants smaller weights (Xavier-uniform).

    :param draws: a CPU generator, so that weights are the same on every device.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            drawn = torch.empty(module.weight.shape, dtype=module.weight.dtype, device="cpu")
            module.weight.copy_(nn.init.kaiming_normal_(drawn, nonlinearity="relu", generator=draws))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
