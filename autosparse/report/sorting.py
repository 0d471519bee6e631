"""The number by which a table is sorted where a cell shows a text: ``3 min 20 s`` as 200, ``266 k`` as 266000."""

import contextlib
import re

from autosparse.report.tables import UNITS

NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
SECONDS = {"s": 1, "min": 60, "h": 3600}


def sort_key(text: str) -> float | None:
    """The number that a text starts with, times its unit; None for a text without one, and for a plain number."""
    with contextlib.suppress(ValueError):
        float(text)
        return None
    times = re.findall(rf"({NUMBER}) (s|min|h)\b", text) if re.match(rf"{NUMBER} (?:s|min|h)\b", text) else []
    if times:
        return sum(_value(number) * SECONDS[unit] for number, unit in times)
    found = re.match(rf"(< )?({NUMBER})(?: ([{''.join(UNITS)}])(?:\b|[A-Z]))?", text)
    if found is None:
        return None
    below, number, unit = found.groups()
    return _value(number) * 1000 ** UNITS.index(unit or "") * (0.999 if below else 1)


def _value(number: str) -> float:
    return float(number.replace(",", ""))
