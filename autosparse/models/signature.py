"""Which arguments a factory takes: what its signature has after the number of classes and the input shape."""

import copy
import functools
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from autosparse.allowed import fits, wording
from autosparse.errors import AutosparseError
from autosparse.models.arguments import Arguments, in_lists
from autosparse.models.registration import ModelFactory
from autosparse.users_code import is_ours, named

Parameters = Mapping[str, inspect.Parameter]
DATA, UNTRAINED = "it comes from the data set", "networks start untrained"
GIVEN = {
    **dict.fromkeys(("num_classes", "input_shape", "in_chans", "img_size"), DATA),
    **dict.fromkeys(("weights", "pretrained"), UNTRAINED),
}
"""Arguments that autosparse gives, and why nobody else does."""


def taking(name: str, factory: ModelFactory, arguments: Arguments) -> ModelFactory:
    """The factory with arguments bound; without any, the factory itself.

    :param name: the bare one, for errors.
    :raises AutosparseError: if the factory does not take them.
    """
    if not arguments:
        return factory
    every = _parameters(factory)
    given = [parameter.name for parameter in every[:2]] if every else []
    check_arguments(name, further(factory), arguments, given, factory)

    @functools.wraps(factory)
    def build(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        return factory(num_classes, input_shape, **copy.deepcopy(arguments))

    return build


def check_arguments(
    name: str,
    known: Parameters | None,
    arguments: Arguments,
    given: Collection[str] = (),
    factory: ModelFactory | None = None,
) -> None:
    """Raise if a network does not take the arguments, or not with their values.

    :param name: the network's bare one, for errors.
    :param known: what it takes; None: that is unknown.
    :param given: further names that autosparse sets itself. A name in :data:`GIVEN` is refused, too, unless the network
        takes it.
    :param factory: the factory that errors locate in the user's code; None: no location.
    """
    theirs = factory is not None and not is_ours(factory)
    cure = ", or let its factory have it after the input shape" if theirs else ""
    try:
        for key, value in arguments.items():
            if key in given or (key in GIVEN and key not in (known or ())):
                raise AutosparseError(f": {key!r} is not an argument to set, {GIVEN.get(key, DATA)}: leave it out")
            if known is not None:
                _check_value(key, value, known, cure)
        for key, parameter in (known or {}).items():
            if parameter.default is inspect.Parameter.empty and key not in arguments:
                raise AutosparseError(f" needs the argument {key!r}, too")
    except AutosparseError as error:
        whose = f"model {name!r}" if factory is None else named(f"model {name!r}", factory)
        raise AutosparseError(f"{whose}{error}") from error


def _check_value(key: str, value: Any, known: Parameters, cure: str) -> None:
    if not known:
        raise AutosparseError(f" takes no arguments: leave out {key!r}{cure}")
    if key not in known:
        raise AutosparseError(f" has no argument {key!r}; it takes {', '.join(known)}")
    annotation = known[key].annotation
    if not fits(value, annotation):
        raise AutosparseError(f": {key!r} must be {wording(annotation)}, got {value!r}")


def further(factory: ModelFactory) -> Parameters | None:
    """What a factory takes after the number of classes and the input shape, by name; None: that is unknown.

    It is unknown of a factory that collects all keywords, and of one without a signature.
    """
    every = _parameters(factory)
    if every is None or any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in every):
        return None
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {parameter.name: parameter for parameter in every[2:] if parameter.kind in kinds}


def defaults_of(factory: ModelFactory) -> Arguments:
    """The arguments of a factory with their defaults, lists for tuples; None for one that has no default."""
    known = further(factory) or {}
    return {name: None if p.default is inspect.Parameter.empty else in_lists(p.default) for name, p in known.items()}


def not_default(factory: ModelFactory, arguments: Arguments) -> Arguments:
    """The arguments that differ from the factory's defaults; 2 stands for 2.0 if the default is a float."""
    kept, defaults = {}, defaults_of(factory)
    for name, value in arguments.items():
        default = defaults.get(name)
        value = float(value) if type(default) is float and type(value) is int else value
        if type(value) is not type(default) or value != default:
            kept[name] = value
    return kept


def of_class(returned: Any) -> Parameters | None:
    """The arguments with a default of the class ``returned``, a function's annotation; None if it is no class."""
    every = _parameters(returned) if inspect.isclass(returned) and returned is not inspect.Signature.empty else None
    if every is None:
        return None
    return {p.name: p for p in every if p.default is not inspect.Parameter.empty and p.name not in GIVEN}


def _parameters(function: Any) -> list[inspect.Parameter] | None:
    """All parameters, with their types if these can be read; None if Python does not know them."""
    for eval_str in (True, False):
        try:
            return list(inspect.signature(function, eval_str=eval_str).parameters.values())
        except Exception:  # an annotation in quotes may be any text
            continue
    return None
