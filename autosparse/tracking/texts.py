"""Values as texts for MLflow's params. A list is JSON; up to version 0.2.0, it was Python's repr."""

import json
import re
from typing import Any


def text_of(value: Any) -> str:
    """The text of a param's value."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def names_in(text: str) -> list[str]:
    """The names in the text of a list; none in an empty text."""
    try:
        found = json.loads(text)
    except ValueError:
        return re.findall(r"'([^']*)'", text)
    return [str(name) for name in found] if isinstance(found, list) else []


def alike(written: str, value: str) -> bool:
    """Whether two texts mean the same value, whichever version wrote them."""
    return written.replace("'", '"') == value.replace("'", '"')
