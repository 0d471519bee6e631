"""Arithmetic on named values, read without ``eval``."""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autosparse.errors import AutosparseError, UnknownName

OPERATORS: dict[type, Callable[..., Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "abs": torch.abs,
    "exp": torch.exp,
    "log": torch.log,
    "max": torch.maximum,
    "min": torch.minimum,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
}
LONGEST = 10_000
"""The most characters that an expression may have."""
DEEPEST = 300
"""The most levels of its tree: Python allows about a thousand nested calls, and a level takes up to two."""


@dataclass(frozen=True)
class Expression:
    """Made of numbers, names, ``+ - * / **``, parentheses, and ``abs exp log max min sigmoid sign sqrt tanh``."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """The value if each name stands for its tensor in ``values``; tensors are broadcast."""
        return _value(self.tree, values)


def parse(text: str, find: Callable[[str], Any]) -> Expression:
    """Read an expression.

    :param find: looks a name up, and raises :class:`UnknownName` if there is none.
    :raises UnknownName: with the nearest known name.
    :raises AutosparseError: if it is anything but arithmetic.
    """
    if len(text) > LONGEST:
        raise AutosparseError(f"the expression has {len(text)} characters; at most {LONGEST} are read")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if _depth(tree) > DEEPEST:
            raise RecursionError(f"it nests, or adds up, more than {DEEPEST} terms")
        names = frozenset(_names(tree, find))
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        if isinstance(error, AutosparseError):
            raise
        raise AutosparseError(f"expression {text!r} cannot be read: {error}") from error
    if not names:
        raise AutosparseError(f"expression {text!r} names no feature, so all weights would score the same")
    return Expression(text, tree, names)


def _depth(tree: ast.AST) -> int:
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _names(node: ast.expr, find: Callable[[str], Any]) -> list[str]:
    """The names in a tree; raises if it holds anything but arithmetic."""
    match node:
        case ast.Constant(value=bool() | complex()):
            pass
        case ast.Constant(value=int() | float() as number):
            float(number)  # raises if it is too large
            return []
        case ast.Name(id=name):
            find(name)
            return [name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return _names(operand, find)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return _names(left, find) + _names(right, find)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            if name not in FUNCTIONS:
                raise UnknownName("function", name, list(FUNCTIONS))
            expected = 2 if name in ("max", "min") else 1
            if len(args) != expected:
                raise AutosparseError(f"{name} takes {expected} value{'s'[: expected - 1]}, got {ast.unparse(node)}")
            return [found for argument in args for found in _names(argument, find)]
    raise AutosparseError(
        f"{ast.unparse(node)!r} is not arithmetic: use numbers, names of features, + - * / **, parentheses and "
        f"{', '.join(FUNCTIONS)}"
    )


def _value(node: ast.expr, values: Mapping[str, Tensor]) -> Tensor:
    match node:
        case ast.Constant(value=number):  # a tensor, too: its division by 0 gives infinity, not an error
            return next(iter(values.values())).new_tensor(float(number))  # type: ignore[arg-type]
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](_value(operand, values))
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_value(argument, values) for argument in args))
    raise AssertionError(node)
