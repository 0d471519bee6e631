"""Numbers as readers see them, and back: the number by which a table sorts what a cell shows."""

import contextlib
import math
import re

UNITS = ("", "k", "M", "G", "T", "P")
SECONDS = {"s": 1, "min": 60, "h": 3600}
NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"


def percent(share: float) -> str:
    """``0.995`` as ``99.5%``, with at most six digits."""
    return f"{100 * share:.6g}%"


def quantity(value: float, unit: str = "") -> str:
    """``266200`` as ``266 k``, with three digits, and the unit after it."""
    power = 0 if value < 1000 else min(int(math.log10(float(f"{value:.3g}")) // 3), len(UNITS) - 1)
    scaled = value / 1000**power
    digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
    text = f"{scaled:.{digits}f}" if power or value != round(value) else f"{value:.0f}"
    return f"{text} {UNITS[power]}{unit}".strip()


def duration(seconds: float) -> str:
    """``0.45 s``, ``12 s``, ``3 min 20 s``, ``5 h 7 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min"


def about(seconds: float) -> str:
    """A duration that is only guessed, in whole minutes if it is two or more: ``90 s``, ``3 min``, ``5 h 7 min``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else duration(seconds)


def cost_text(cost: float, unit: str) -> str:
    """Seconds as a duration, images and FLOPs with three digits.

    :param unit: one of :data:`autosparse.results.costs.UNITS`.
    """
    return duration(cost) if unit == "seconds" else quantity(cost)


def seeds_text(counts: list[int]) -> str:
    """``n = 3 seeds``, or the range if the numbers differ; for a title."""
    if not counts:
        return "no runs"
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"n = {span} seed{'s' if span != '1' else ''}"


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
