"""From the name that a user types to the factory: ours, torchvision's, or the user's own.

A network from elsewhere says nothing of the inputs it takes, so its factory tries it on two blank examples.
"""

import importlib
import re
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.errors import AutosparseError, UnknownName
from autosparse.models.registration import MODELS, ModelFactory, not_imported
from autosparse.plugins import withheld


def find_model(name: str) -> ModelFactory:
    """The factory behind a name: a registered one, ``torchvision:NAME`` or ``package.module:factory``.

    ``torchvision:NAME`` is any classification network of ``torchvision.models``, untrained.
    ``package.module:factory`` is imported here, and is a callable ``(num_classes, input_shape) -> nn.Module``; within
    :func:`autosparse.plugins.withholding` it is not, and its name is all that is checked.

    :raises AutosparseError: with the nearest known name, or with the reason why the import failed.
    """
    source, colon, member = name.partition(":")
    if not colon:
        return MODELS[name]
    if source == "torchvision":
        return _tried(name, _from_torchvision(member))
    record = withheld()
    if record is None:
        return _tried(name, _imported(name, source, member))
    if not FACTORY.fullmatch(name):
        raise AutosparseError(f"model {name!r} is not of the form package.module:factory")
    record.factories.add(name)
    return not_imported(name)


FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def _from_torchvision(name: str) -> ModelFactory:
    from torchvision import models  # here: torchvision takes seconds to import

    known = models.list_models(module=models)
    if name not in known:
        raise UnknownName("torchvision model", name, known)
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):  # one output, not three
        options = {"aux_logits": False, "init_weights": False}

    def build(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        model: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
        return model

    return build


def _imported(name: str, module_name: str, member: str) -> ModelFactory:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise AutosparseError(
            f"model {name!r}: cannot import {module_name!r} ({_reason(error)}); give torchvision:NAME, "
            f"or package.module:factory of a package that is installed or on PYTHONPATH"
        ) from error
    factory = getattr(module, member, None)
    if factory is None:
        raise UnknownName(f"factory in {module_name}", member, _callables(module))
    if not callable(factory):
        raise AutosparseError(
            f"model {name!r}: {member} is not a callable (num_classes, input_shape) -> nn.Module, "
            f"but of type {type(factory).__name__}"
        )
    found: ModelFactory = factory
    return found


def _callables(module: ModuleType) -> list[str]:
    """What the module itself defines and could be a factory."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    ]


def _tried(name: str, factory: ModelFactory) -> ModelFactory:
    def build(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        wanted = f"inputs of shape {tuple(input_shape)} and {num_classes} classes"
        try:
            model = factory(num_classes, input_shape)
            shape = _output_shape(model, input_shape)
        except Exception as error:  # whatever a network from elsewhere raises
            raise AutosparseError(f"model {name!r} does not take {wanted}: {_reason(error)}") from error
        if shape != (2, num_classes):
            raise AutosparseError(f"model {name!r} gives {shape} for a batch of 2 {wanted}, not (2, {num_classes})")
        return model

    return build


@torch.no_grad()
def _output_shape(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, ...] | str:
    """The shape of what the network gives for two blank examples; the name of its type if that is no tensor."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"the factory returned a {type(model).__name__}, not an nn.Module")
    output = model.eval()(torch.zeros(2, *input_shape))
    model.train()
    return tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0].rstrip(": ")
