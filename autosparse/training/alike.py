"""Whether networks of one architecture also have the same settings: the attributes that no ``state_dict`` holds."""

import functools
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
"""Parameters, buffers, layers and hooks, each compared elsewhere."""


def differing_setting(model: nn.Module, other: nn.Module) -> str | None:
    """What two networks differ in, as ``'head.temperature'`` or ``the code of 'head'``; None if in nothing.

    Numbers, texts, containers, tensors that are no buffers, functions and plain objects are compared by what they hold,
    functions with what they close over. Objects that do not show what they hold are compared by their types.

    :param other: a network of the same architecture: with the same layers, by the same names.
    """
    layers = zip(model.modules(), other.modules(), strict=True)
    return _differing(model, other, {(id(layer), id(layer_2)): (layer, layer_2) for layer, layer_2 in layers})


Seen = dict[tuple[int, int], tuple[Any, Any]]
"""The pairs whose comparison has begun, by their ids; held here, so that no other object gets such an id."""


def _differing(model: nn.Module, other: nn.Module, seen: Seen) -> str | None:
    for (name, layer), layer_2 in zip(model.named_modules(), other.modules(), strict=True):
        if not _same(_code(type(layer)), _code(type(layer_2)), seen):
            return f"the code of {name!r}" if name else "their code"
        own, own_2 = _settings(layer), _settings(layer_2)
        for key in [*own, *(own_2.keys() - own.keys())]:
            if key not in own or key not in own_2 or not _same(own[key], own_2[key], seen):
                return repr(f"{name}.{key}".lstrip("."))
    return None


def _code(kind: type) -> dict[str, Any]:
    """The methods of a class, own and inherited: a class that a function defines is another one at each call."""
    return {
        key: value
        for base in reversed(kind.__mro__)
        for key, value in vars(base).items()
        if isinstance(value, types.FunctionType)
    }


def _settings(layer: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(layer).items() if key not in OF_EVERY_MODULE}


def _same(a: Any, b: Any, seen: Seen) -> bool:
    """Whether two values hold the same; a pair in ``seen`` is being compared already, as in a cycle, or has been."""
    if a is b or (id(a), id(b)) in seen:
        return True
    if type(a) is not type(b):
        return False
    seen[id(a), id(b)] = a, b
    if isinstance(a, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
    if isinstance(a, np.ndarray | np.generic):
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, int | float | complex | str | bytes | torch.dtype | torch.device):
        return bool(a == b or (a != a and b != b))
    if isinstance(a, type):
        return (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(value, b[key], seen) for key, value in a.items())
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(_same(x, y, seen) for x, y in zip(a, b, strict=True))
    if isinstance(a, nn.Module):  # one that its owner hides, as in a list
        return str(a) == str(b) and _differing(a, b, seen) is None and _same(a.state_dict(), b.state_dict(), seen)
    parts, parts_2 = _parts(a), _parts(b)
    if parts is None or parts_2 is None:
        return bool(a == b) if isinstance(a, set | frozenset | types.BuiltinFunctionType) else True
    return _same(parts, parts_2, seen)


def _parts(value: Any) -> Any:
    """What decides what ``value`` does; None if that cannot be seen."""
    if isinstance(value, types.FunctionType):
        cells = [_content(cell) for cell in value.__closure__ or ()]
        return value.__code__.co_code, _constants(value.__code__), value.__defaults__, value.__kwdefaults__, cells
    if isinstance(value, types.MethodType):
        return value.__func__, None if isinstance(value.__self__, nn.Module) else value.__self__
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, types.ModuleType):
        return None
    slots = [name for kind in type(value).__mro__ for name in _names(getattr(kind, "__slots__", ()))]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**held, **getattr(value, "__dict__", {})} or None


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _constants(code: types.CodeType) -> tuple[Any, ...]:
    """The names and constants of a function, also of the functions that it defines."""
    inner = [_constants(c) if isinstance(c, types.CodeType) else c for c in code.co_consts]
    return code.co_names, *inner


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None
