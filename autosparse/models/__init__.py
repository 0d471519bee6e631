"""Networks by name. A new one is one new file here whose factory carries ``@register_model``."""

from collections.abc import Callable

import torch
from torch import nn

from autosparse.registry import Registry
from autosparse.seeds import derive_seed, generator

ModelFactory = Callable[[int, tuple[int, ...]], nn.Module]
"""``(num_classes, input_shape) -> module`` with logits of shape (batch, num_classes)."""

MODELS: Registry[ModelFactory] = Registry("model", __name__)


def register_model(name: str) -> Callable[[ModelFactory], ModelFactory]:
    """Decorator: make a factory known under the name that users type."""

    def decorate(factory: ModelFactory) -> ModelFactory:
        MODELS.register(name, factory)
        return factory

    return decorate


def build_model(name: str, num_classes: int, input_shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    """Build a network at initialisation, on the CPU.

    Linear and Conv weights are Kaiming-normal (fan-in, gain sqrt 2; He et al. 2015), biases 0,
    normalisation layers the identity. The same seed gives the same weights on every machine,
    and torch's global generator is left as it was.

    :param input_shape: shape of one example, e.g. ``(1, 28, 28)``.
    :raises UnknownName: with the nearest known name.
    """
    factory = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "construction"))
        model = factory(num_classes, tuple(input_shape))
    return kaiming_normal_(model, generator(seed, "weights"))


@torch.no_grad()
def kaiming_normal_(model: nn.Module, draws: torch.Generator) -> nn.Module:
    """Initialise in place: Kaiming-normal weights, zero biases; normalisation layers are left alone."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=draws)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
