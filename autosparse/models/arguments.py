"""Arguments in the name of a model: ``resnet20(width=32)``, which experiment files may write as a mapping.

One network has one name: arguments stand in alphabetical order, each as a literal of Python, texts in double quotes.
"""

import ast
import functools
import json
import keyword
import math
from collections.abc import Mapping
from typing import Any

from autosparse.errors import AutosparseError

Arguments = dict[str, Any]
"""Numbers, texts, true or false, None, and lists of these, by name."""
LARGEST, LONGEST = 2**63, 500
"""The limits of whole numbers and of a name's characters, so that files and MLflow can hold them."""
JSON = {"true": True, "false": False, "null": None}
"""Words of YAML and JSON that mean the same as Python's."""


def parse_name(name: str) -> tuple[str, Arguments]:
    """The bare name of a model, and the arguments in parentheses after it; nothing in them is executed.

    :raises AutosparseError: if they are not of the form ``name(argument=value, ...)``.
    """
    if "(" not in name:
        return name, {}
    if len(name) > LONGEST:
        raise AutosparseError(f"model {name[:40]!r}...: with its arguments, it has more than {LONGEST} characters")
    bare, arguments = _parsed(name)
    return bare, {key: in_lists(value) for key, value in arguments}


def bare_name(name: str) -> str:
    """The name of a model without its arguments."""
    return parse_name(name)[0]


def written_name(bare: str, arguments: Mapping[str, Any]) -> str:
    """The name of a model with arguments: ``resnet20(blocks=5, width=32)``; without any, the bare name.

    :raises AutosparseError: if an argument has no name, or a value that a name cannot hold.
    """
    if not arguments:
        return bare
    for key, value in arguments.items():
        if not isinstance(key, str) or not key.isidentifier() or keyword.iskeyword(key):
            raise AutosparseError(f"model {bare!r}: {key!r} is not the name of an argument")
        if not _holds(value):
            raise AutosparseError(
                f"model {bare!r}: argument {key!r} must be a number, a text, true, false, null, or a list of these, "
                f"got {value!r}"
            )
    return f"{bare}({', '.join(f'{key}={literal(arguments[key])}' for key in sorted(arguments))})"


def name_from(mapping: Mapping[str, Any]) -> str:
    """The name of a model that an experiment file writes as ``{name: resnet20, width: 32}``.

    :raises AutosparseError: if it has no ``name``, or one that has arguments already.
    """
    name = mapping.get("name")
    if not isinstance(name, str) or not name:
        got = dict(mapping)
        raise AutosparseError(f"a model with arguments is written {{name: resnet20, width: 32}}, got {got!r}")
    if "(" in name:
        raise AutosparseError(f"model {name!r}: write all arguments in its name, or all as keys beside `name:`")
    return written_name(name, {key: value for key, value in mapping.items() if key != "name"})


@functools.lru_cache(1024)  # callers share what it returns, and must not change it
def _parsed(name: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    bare, _, inside = name.partition("(")
    try:
        call: Any = ast.parse(f"f({inside}", mode="eval").body
        alone = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args
        if not alone or not inside.endswith(")"):
            raise ValueError
        pairs = [(str(k.arg), ast.literal_eval(_Words().visit(k.value))) for k in call.keywords if k.arg]
        if len(dict(pairs)) < len(call.keywords) or not all(_holds(value) for _, value in pairs):
            raise ValueError
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise AutosparseError(
            f"model {name!r}: write its arguments as in resnet20(width=32): numbers, texts in quotes, True, False, "
            f"None, or lists of these, each argument once"
        ) from error
    return bare.strip(), tuple(pairs)


class _Words(ast.NodeTransformer):
    """Takes ``true``, ``false`` and ``null`` for what they mean in YAML."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(JSON[node.id]) if node.id in JSON else node


def _holds(value: Any) -> bool:
    """Whether a name can hold a value."""
    if isinstance(value, list | tuple):
        return all(map(_holds, value))
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() == value  # no half of a pair of surrogates
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int | None) and abs(value or 0) < LARGEST


def literal(value: Any) -> str:
    """A value as Python writes it, but texts in double quotes: they fit between the single ones of a shell."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value + 0.0 if isinstance(value, float) else value)  # -0.0 is 0.0


def in_lists(value: Any) -> Any:
    """A value with new lists for its tuples and lists, so that no factory changes those of another."""
    return list(map(in_lists, value)) if isinstance(value, list | tuple) else value
