"""A new experiment file: the template, or a copy of another file, under its own name."""

import re
from pathlib import Path

from autosparse.errors import AutosparseError
from autosparse.experiment.files import find_file, read_text

TEMPLATE = Path(__file__).with_name("template.yaml")
SCHEMA_FILE = "autosparse.schema.json"
POINTER = "# yaml-language-server: $schema="
"""Begins the line that tells editors which schema to use."""


def new_file(name: str, source: str | None = None) -> str:
    """The text of an experiment file called ``name``, whose first line points to :data:`SCHEMA_FILE` beside it.

    :param source: a file to copy, as :func:`autosparse.experiment.files.find_file` takes it; None: the template.
    :raises AutosparseError: if there is no such file, or it has no line ``name:``.
    """
    text = TEMPLATE.read_text() if source is None else read_text(find_file(source))
    text, count = re.subn(r"(?m)^name:.*$", f"name: {name}", text, count=1)
    if not count:
        raise AutosparseError(f"{source} has no line `name: ...` of its own to change")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(POINTER)]
    return "".join([f"{POINTER}{SCHEMA_FILE}\n", *lines])
