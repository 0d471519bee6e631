"""Tips of a figure: what a page shows if a pointer comes near a point, and where the figure draws the point."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

ATTRIBUTE = "autosparse_tips"
"""The attribute of a figure that holds its tips."""


@dataclass(frozen=True)
class Tip:
    """What is said of one point."""

    axes: Axes
    x: float
    y: float
    lines: tuple[str, ...]
    """The first one is the title."""
    runs: tuple[tuple[str, str], ...]
    """What each run behind the point has, and the run's id in MLflow."""


def tell(axes: Axes, x: float, y: float, *lines: str, runs: Iterable[tuple[str, str]] = ()) -> None:
    """Give the point of ``axes`` at x and y the lines that a pointer near it shows; empty ones are left out."""
    tips = axes.figure.__dict__.setdefault(ATTRIBUTE, [])
    tips.append(Tip(axes, float(x), float(y), tuple(filter(None, lines)), tuple(runs)))


def tips_of(figure: Figure) -> str:
    """The tips of a figure that has been drawn, as JSON for the page's script; empty if it has none.

    ``texts`` are all lines, each once. A point is ``[x, y, [its lines, by their places in texts], [[run's text, run's
    id], ...]]``, with x and y in shares of the figure's width and height from its upper left corner.
    """
    tips: list[Tip] = figure.__dict__.get(ATTRIBUTE, [])
    if not tips:
        return ""
    texts: dict[str, int] = {}
    points = [_placed(figure, tip, texts) for tip in tips]
    told = json.dumps({"texts": list(texts), "points": points}, ensure_ascii=False, separators=(",", ":"))
    return told.replace("<", "\\u003c")  # in a <script>, no text can end the element


def _placed(figure: Figure, tip: Tip, texts: dict[str, int]) -> list[Any]:
    x, y = figure.transFigure.inverted().transform(tip.axes.transData.transform((tip.x, tip.y)))
    lines = [texts.setdefault(line, len(texts)) for line in tip.lines]
    return [round(float(x), 4), round(1 - float(y), 4), lines, *([tip.runs] if tip.runs else [])]
