"""What values the options of a criterion may take, read off its signature."""

import math
import numbers
import types
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any, Union, get_args, get_origin

from autosparse.errors import AutosparseError


@dataclass(frozen=True)
class Within:
    """Numbers from ``low`` to ``high``; an open end is excluded."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'greater than' if self.open_low else 'at least'} {self.low:g}"
        return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


@dataclass(frozen=True)
class OneOf:
    """One of ``names``; ``why`` says why no other."""

    names: tuple[str, ...]
    why: str = ""

    def __contains__(self, value: str) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return " or ".join(map(repr, self.names)) + (f" ({self.why})" if self.why else "")


AtLeastOne = Annotated[int, Within(1)]
Count = Annotated[int, Within(0)]
Positive = Annotated[float, Within(0, open_low=True)]
Momentum = Annotated[float, Within(0, 1, open_high=True)]
Sparsity = Annotated[float, Within(0, 1, open_high=True)]
"""Share of the weights or channels to prune."""

KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check_values(criterion: str, options: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> None:
    """Raise if the value of an option is not of the type, or not in the range, that the signature gives."""
    for option, value in options.items():
        annotation = parameters[option].annotation
        if not _fits(value, annotation):
            raise AutosparseError(f"option {option!r} of {criterion!r} must be {_wording(annotation)}, got {value!r}")


def _fits(value: Any, annotation: Any) -> bool:
    if _is_union(annotation):
        return any(_fits(value, member) for member in get_args(annotation))
    if get_origin(annotation) is Annotated:
        kind, *ranges = get_args(annotation)
        return _fits(value, kind) and all(value in allowed for allowed in ranges)
    if annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if annotation is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return not isinstance(annotation, type) or annotation not in KINDS or isinstance(value, annotation)


def _wording(annotation: Any) -> str:
    if _is_union(annotation):
        return " or ".join(_wording(member) for member in get_args(annotation) if member is not type(None))
    if get_origin(annotation) is Annotated:
        kind, *ranges = get_args(annotation)
        return " ".join(map(str, ranges)) if kind is str else " ".join(map(str, (KINDS[kind], *ranges)))
    return KINDS.get(annotation, str(annotation))


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)
