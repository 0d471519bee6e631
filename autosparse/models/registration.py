"""How a network gets its name: ``@register_model`` on its factory, and the inputs it refuses."""

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from autosparse.errors import AutosparseError
from autosparse.registry import Registry

ModelFactory = Callable[..., nn.Module]
"""``(num_classes, input_shape, **arguments) -> module`` with logits of shape (batch, num_classes)."""


def not_imported(name: str) -> ModelFactory:
    """A stand-in for a network whose code is not imported here, so that it has a name but cannot be built."""

    def build(num_classes: int, input_shape: tuple[int, ...], **arguments: Any) -> nn.Module:
        raise AutosparseError(f"model {name!r} is code that is not imported here; run the experiment without --dry-run")

    return build


MODELS: Registry[ModelFactory] = Registry("model", __package__, not_imported)


def register_model(
    name: str, min_side: int | None = None, multiple_of: int = 1
) -> Callable[[ModelFactory], ModelFactory]:
    """Decorator: make a factory known under the name that users type.

    What its signature has after the number of classes and the input shape are arguments that users may set:
    ``resnet20(width=32)``.

    :param min_side: the smallest height and width, in pixels, of the images (channels, height, width) that the network
        takes; the factory refuses all other shapes. None: it takes every shape.
    :param multiple_of: the number that must divide height and width, in pixels.
    """

    def decorate(factory: ModelFactory) -> ModelFactory:
        if "(" in name:
            raise AutosparseError(f"model {name!r}: parentheses hold arguments: give it a name without them")

        @functools.wraps(factory)
        def checked(num_classes: int, input_shape: tuple[int, ...], **arguments: Any) -> nn.Module:
            if min_side is not None:
                _check_images(name, input_shape, min_side, multiple_of)
            return factory(num_classes, input_shape, **arguments)

        MODELS.register(name, checked, factory)
        return checked

    return decorate


def _check_images(name: str, input_shape: tuple[int, ...], min_side: int, multiple_of: int) -> None:
    refused = f"model {name!r} does not take inputs of shape {tuple(input_shape)}: "
    if len(input_shape) != 3 or min(input_shape[1:]) < min_side:
        pixels = "1 pixel" if min_side == 1 else f"{min_side} pixels"
        raise AutosparseError(f"{refused}it needs images (channels, height, width) with sides of at least {pixels}")
    if any(side % multiple_of for side in input_shape[1:]):
        raise AutosparseError(f"{refused}its height and width must be multiples of {multiple_of} pixels")
