"""Find the factory that a user's name for a model means: ours, torchvision's, timm's, or the user's own.

Arguments in the name, such as ``resnet20(width=32)``, are checked against the factory's signature. A network from
elsewhere does not say what inputs it takes, so its factory tries it on two blank examples.
"""

import functools
import importlib
import inspect
import re
from copy import deepcopy
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.errors import AutosparseError, UnknownName, nearest_name
from autosparse.models.arguments import Arguments, parse_name, written_name
from autosparse.models.logits import Logits, has_logits
from autosparse.models.registration import MODELS, ModelFactory, not_imported
from autosparse.models.signature import check_arguments, not_default, of_class, taking
from autosparse.plugins import withheld
from autosparse.users_code import described, is_ours, kind_and_line, named

FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""The form ``package.module:factory``."""


def find_model(name: str) -> ModelFactory:
    """The factory behind a name: a registered one, ``torchvision:NAME``, ``timm:NAME`` or ``package.module:factory``.

    ``torchvision:NAME`` is any classification network of ``torchvision.models``, untrained. ``timm:NAME`` is any of
    timm (the extra ``timm``), untrained, built for the channels of the images and, if its input size is fixed, for
    their size. ``package.module:factory`` is imported here, and is a callable
    ``(num_classes, input_shape) -> nn.Module``; within :func:`autosparse.plugins.withholding` it is not imported, and
    only the form of its name is checked.

    Each may have arguments in parentheses, ``resnet20(width=32)``: further keywords of the factory, or of the function
    of torchvision or timm. The factory that is returned has them bound.

    :raises AutosparseError: with the nearest known name, with the reason why the import failed, or if the factory does
        not take the arguments.
    """
    bare, arguments = parse_name(name)
    source, colon, member = bare.partition(":")
    if not colon:
        return taking(bare, MODELS[bare], arguments)
    if source == "torchvision":
        return _tried(name, _from_torchvision(member, arguments))
    if source == "timm":
        return _tried(name, _from_timm(member, arguments))
    record = withheld()
    if record is None:
        return _tried(name, taking(bare, _imported(bare, source, member), arguments))
    if not FACTORY.fullmatch(bare):
        raise AutosparseError(f"model {name!r} is not of the form package.module:factory")
    record.factories.add(bare)
    return not_imported(name)


def checked_name(name: str) -> str:
    """The one name of a network, after the checks of :func:`find_model`, for records and tables.

    Arguments stand in alphabetical order. Those that a network of ours has by default are left out:
    ``resnet20(width=16)`` is ``resnet20``.
    """
    factory = find_model(name)
    if "(" not in name:
        return name
    bare, arguments = parse_name(name)
    if ":" not in bare and is_ours(factory):
        arguments = not_default(factory, arguments)
    return written_name(bare, arguments)


def _from_torchvision(name: str, arguments: Arguments) -> ModelFactory:
    from torchvision import models  # here: torchvision takes seconds to import

    known = models.list_models(module=models)
    if name not in known:
        raise UnknownName("torchvision model", name, known)
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):  # one output, not three
        options = {"aux_logits": False, "init_weights": False}
    if arguments:
        made = inspect.signature(models.get_model_builder(name), eval_str=True).return_annotation
        check_arguments(f"torchvision:{name}", of_class(made), arguments, options)

    def build(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        return models.get_model(name, weights=None, num_classes=num_classes, **options, **deepcopy(arguments))

    return build


def _from_timm(name: str, arguments: Arguments) -> ModelFactory:
    try:
        import timm
    except ImportError as error:
        raise AutosparseError(
            f"model 'timm:{name}' needs the package timm: pip install 'autosparse[timm]' ({kind_and_line(error)})"
        ) from error
    if not timm.is_model(name):
        known = timm.list_models()
        if nearest_name(name, known) is None:  # there are a thousand to choose from
            raise AutosparseError(f"unknown timm model {name!r}: timm.list_models() lists them")
        raise UnknownName("timm model", name, known)
    check_arguments(f"timm:{name}", None, arguments)  # timm itself tells, when it builds

    def build(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        if len(input_shape) != 3:
            raise ValueError("it takes images (channels, height, width)")
        fixed_size = timm.models.get_pretrained_cfg_value(name, "fixed_input_size")
        options: dict[str, Any] = {"img_size": input_shape[1:]} if fixed_size else {}
        return timm.create_model(
            name, pretrained=False, num_classes=num_classes, in_chans=input_shape[0], **options, **deepcopy(arguments)
        )

    return build


def _imported(name: str, module_name: str, member: str) -> ModelFactory:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise AutosparseError(
            f"model {name!r}: cannot import {module_name!r} ({kind_and_line(error)}); give torchvision:NAME, "
            f"timm:NAME, or package.module:factory of a package that is installed or on PYTHONPATH"
        ) from error
    factory = getattr(module, member, None)
    if factory is None:
        raise UnknownName(f"factory in {module_name}", member, _callables(module))
    if not callable(factory):
        raise AutosparseError(
            f"model {name!r}: {member} is not a callable (num_classes, input_shape) -> nn.Module, "
            f"but of type {type(factory).__name__}"
        )
    return factory


def _callables(module: ModuleType) -> list[str]:
    """Names of what the module itself defines that could be a factory."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    ]


def _tried(name: str, factory: ModelFactory) -> ModelFactory:
    @functools.wraps(factory)
    def build(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        wanted = f"inputs of shape {tuple(input_shape)} and {num_classes} classes"
        try:
            model = factory(num_classes, input_shape)
            if not isinstance(model, nn.Module):
                raise TypeError(f"the factory returned a {type(model).__name__}, not an nn.Module")
            output = _output(model, input_shape)
        except Exception as error:  # whatever a network from elsewhere raises
            whose = named(f"model {name!r}", factory)
            raise AutosparseError(f"{whose} does not take {wanted}: {described(error)}") from error
        if has_logits(output):
            model, output = Logits(model), output.logits
        shape = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        if shape != (2, num_classes):
            whose = named(f"model {name!r}", factory)
            raise AutosparseError(f"{whose} gives {shape} for a batch of 2 {wanted}, not (2, {num_classes})")
        return model

    return build


@torch.no_grad()
def _output(model: nn.Module, input_shape: tuple[int, ...]) -> Any:
    """The network's output for two blank examples in evaluation mode; leaves it in training mode."""
    output = model.eval()(torch.zeros(2, *input_shape))
    model.train()
    return output
