"""What values an argument may take, read off a declaration: options of criteria, arguments of models, recipes."""

import math
import numbers
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin


class Allowed:
    """Base of the notes in annotations that limit values.

    ``value in note`` says whether a value is allowed. ``str(note)`` words the limit, after "must be". Notes of other
    packages are ignored.
    """

    def __contains__(self, value: Any) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class Within(Allowed):
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
class OneOf(Allowed):
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

KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value has the type and lies in the range that an annotation gives; True if it is not understood.

    A ``Literal`` takes any value of its types; another check reports unknown names better.
    """
    if _is_union(annotation):
        return any(fits(value, member) for member in get_args(annotation))
    if get_origin(annotation) is Annotated:
        kind, ranges = _ranged(annotation)
        return fits(value, kind) and all(value in allowed for allowed in ranges)
    if get_origin(annotation) is Literal:
        return type(value) in set(map(type, get_args(annotation)))
    if (item := _item(annotation)) is not None:
        return isinstance(value, list | tuple) and all(fits(one, item) for one in value)
    if annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if annotation is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return not isinstance(annotation, type) or annotation not in KINDS or isinstance(value, annotation)


def wording(annotation: Any) -> str:
    """What :func:`fits` asks for, in words that follow "must be"."""
    if _is_union(annotation):
        return " or ".join(wording(member) for member in get_args(annotation) if member is not type(None))
    if get_origin(annotation) is Annotated:
        kind, ranges = _ranged(annotation)
        return " ".join(map(str, ranges if kind is str and ranges else (wording(kind), *ranges)))
    if get_origin(annotation) is Literal:
        return " or ".join(map(repr, get_args(annotation)))
    if (item := _item(annotation)) is not None:
        return f"a list, each item {wording(item)}"
    return KINDS.get(annotation, str(annotation))


def _ranged(annotation: Any) -> tuple[Any, list[Allowed]]:
    """The type that is annotated, and the ranges; other packages may have added notes of their own."""
    kind, *notes = get_args(annotation)
    return kind, [note for note in notes if isinstance(note, Allowed)]


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _item(annotation: Any) -> Any:
    """The type of the items of ``list[X]`` or ``tuple[X, ...]``; None for everything else."""
    arguments = get_args(annotation)
    if get_origin(annotation) is list or (get_origin(annotation) is tuple and arguments[1:] == (...,)):
        return arguments[0]
    return None
