"""Cards: the ``README.md`` of a scorer or of survival data, in the layout of the Hugging Face Hub.

A card begins with YAML that the Hub reads. It ends with a comment that holds its checksum, which tells whether somebody
has edited it. Nothing is sent or fetched.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from autosparse.errors import AutosparseError
from autosparse.files import write_atomic

FILE = "README.md"
LIBRARY = "autosparse"
MARK = re.compile(r"\n<!-- autosparse card ([0-9a-f]{64}) -->\n\Z")


def assemble(header: Mapping[str, Any], body: str) -> str:
    """A whole card from what its YAML header says and its text."""
    text = f"---\n{yaml.safe_dump(dict(header), sort_keys=False, allow_unicode=True)}---\n\n{body.strip()}\n"
    return f"{text}\n<!-- autosparse card {_digest(text)} -->\n"


def write_card(folder: Path, card: str, force: bool = False) -> Path:
    """Write a card as the folder's ``README.md``, whole or not at all.

    :param force: whether to replace a file that is not one of our cards, or that somebody has edited.
    :raises AutosparseError: if there is such a file.
    """
    path = folder / FILE
    if not force and path.exists() and not is_untouched(path.read_text("utf-8", "replace")):
        raise AutosparseError(f"{path} is not as `autosparse card` wrote it: keep it, or replace it with --force")
    write_atomic(path, card.encode())
    return path


def is_untouched(text: str) -> bool:
    """Whether a text is a card as :func:`assemble` made it."""
    found = MARK.search(text)
    return found is not None and found[1] == _digest(text[: found.start()])


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; values cannot break out of their cells."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def public_name(dataset: str) -> str:
    """A data set's name without what only this machine knows: its path, the size of a subset, a fingerprint."""
    name = re.sub(r"^subset:[^:]*:", "", dataset)
    name = re.sub(r"@[0-9a-f]{8,16}$", "", name)
    kind, colon, path = name.partition(":")
    return (Path(path).name or kind) if colon else name


def told(provenance: Mapping[str, Any], columns: Sequence[str]) -> list[object]:
    """The values of a provenance in ``columns``, empty if unknown; a data set by its public name."""
    found = {**provenance, "dataset": public_name(str(provenance.get("dataset", "")))}
    return [found.get(column, "") for column in columns]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
