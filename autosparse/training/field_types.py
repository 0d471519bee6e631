"""Whether the fields of a dataclass hold what they declare."""

import numbers
import types
from dataclasses import fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from autosparse.errors import AutosparseError

KINDS: dict[Any, tuple[str, type]] = {
    int: ("a whole number", numbers.Integral),
    float: ("a number", numbers.Real),
    str: ("text", str),
    bool: ("True or False", bool),
    type(None): ("None", type(None)),
}
"""What a declared type is called, and what it takes: the numbers of NumPy, too."""


def check_types(instance: Any, whose: str) -> None:
    """Raise :class:`AutosparseError` with the first field of a dataclass whose value is not of its declared type.

    A list where a tuple is declared is turned into one. A ``Literal`` takes any value of its types: which names there
    are says another check better.
    """
    hints = _hints(type(instance))  # type: ignore[arg-type]  # a class is hashable
    for field in fields(instance):
        value, declared = getattr(instance, field.name), hints[field.name]
        if isinstance(value, list) and get_origin(declared) is tuple:
            value = tuple(value)
            object.__setattr__(instance, field.name, value)
        if not _fits(value, declared):
            raise AutosparseError(f"{whose}: {field.name} must be {_wording(declared)}, got {value!r}")


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _fits(value: Any, declared: Any) -> bool:
    origin, inner = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return type(value) in set(map(type, inner))
    if origin is tuple:
        items = inner[:1] * len(value) if isinstance(value, tuple) and inner[1:] == (...,) else inner
        return isinstance(value, tuple) and len(items) == len(value) and all(map(_fits, value, items))
    if declared in KINDS:
        return isinstance(value, KINDS[declared][1]) and (declared is bool or not isinstance(value, bool))
    return not isinstance(declared, type) or isinstance(value, declared)


def _wording(declared: Any) -> str:
    origin, inner = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_wording, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is tuple:
        return f"a tuple, each entry {_wording(inner[0])}"
    return KINDS[declared][0] if declared in KINDS else f"a {getattr(declared, '__name__', declared)}"
