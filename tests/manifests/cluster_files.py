"""The files under cluster/, parsed, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from itertools import dropwhile, groupby
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
CLUSTER = REPOSITORY / "cluster"

SECRET = re.compile(r"(?i)(password|token|secret)")
"""Matches names of variables whose value is secret, unless they end in PATH."""


def load(path: str) -> Any:
    """A YAML file of one document, with its merge keys resolved."""
    return yaml.safe_load((CLUSTER / path).read_text())


def load_all(path: str) -> list[dict[str, Any]]:
    """A YAML file of several documents."""
    return list(yaml.safe_load_all((CLUSTER / path).read_text()))


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret itself."""
    return bool(SECRET.search(name)) and not name.upper().endswith("PATH")


PROGRAMS = ("ray", "mlflow", "autosparse")


def commands(text: str) -> Iterator[list[str]]:
    """The words of each ``ray``, ``mlflow`` or ``autosparse`` command in a line of shell, without what is before it."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    for is_operator, group in groupby(lexer, lambda word: set(word) <= set(";&|<>")):
        words = list(dropwhile(lambda word: re.match(r"\w+=", word), group))
        if words[:2] == ["dc", "exec"]:  # the README's name for docker compose
            words = words[3:]
        if not is_operator and len(words) > 1 and Path(words[0]).name in PROGRAMS:
            yield [Path(words[0]).name, *words[1:]]
            for quoted in words:
                if " " in quoted:
                    yield from commands(quoted)


def strings(value: Any) -> Iterator[str]:
    """Every string in parsed YAML; a list of words that starts with one of our programs is one string."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        if value and value[0] in PROGRAMS:
            yield shlex.join(value)
        else:
            for inner in value:
                yield from strings(inner)
