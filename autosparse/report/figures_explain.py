"""Figures of an explanation: what each input of a scorer is worth, and how the score depends on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from autosparse.report.style import COOL, INK, WARM, shown, small_panels


def importance_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Points of accuracy that a network loses if an input is permuted, with 95 % intervals.

    :param rows: ``input, loss, half_width, significant``, most important first.
    """
    figure = Figure(figsize=(6.4, 0.28 * len(rows) + 1.0), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        color = WARM[0] if row["significant"] else COOL[0]
        axes.barh(place, row["loss"], color=color, height=0.65, xerr=row["half_width"] or 0, ecolor=INK)
    axes.set_yticks(range(len(rows)), [shown(row["input"]) for row in reversed(rows)])
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("points of accuracy lost when it is permuted")
    return figure


def dependence_figure(curves: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Mean score as a function of each input alone."""
    figure, panels = small_panels(list(curves), room=0.3)
    for axes, points in zip(panels, curves.values(), strict=True):
        axes.plot(*zip(*points, strict=True), color=WARM[0], linewidth=1.5)
    return figure
