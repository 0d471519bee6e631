"""Figure of accuracy against cost: a row for each unit of cost, one curve a method over its sparsities."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from autosparse.report.axes import cost_axis, error_axis
from autosparse.report.collect_frontier import Frontier
from autosparse.report.formats import cost_text, percent
from autosparse.report.style import GREY, INK, LINES, LineStyle, shown
from autosparse.report.tips import tell
from autosparse.results.frontier import Point

LABELS = {"seconds": "seconds", "images": "images", "flops": "FLOPs"}
DENSE = LineStyle(INK, "s", "", False)
STEPS = 4
"""Sparsities whose Pareto set has a line, the lowest and the highest among them."""
APART = 0.034
"""Least distance of two labels, in heights of a panel."""


@dataclass(frozen=True)
class Column:
    """What a column of panels shows."""

    title: str
    cost: str
    """The attribute of a point that stands on the x axis."""
    mark: str
    """The attribute that tells whether it is in the Pareto set."""

    def place(self, point: Point) -> tuple[float, float]:
        """Where the point stands."""
        return getattr(point, self.cost), point.accuracy

    def best(self, point: Point) -> bool:
        """Whether it is in the Pareto set of its sparsity."""
        return bool(getattr(point, f"{self.mark}_at_sparsity"))


ALONE = Column("of one cell", "cost", "pareto")
TOGETHER = Column("with what was spent once", "together", "pareto_together")
Looks = Mapping[tuple[str, str], LineStyle]
"""By method and what sets its training apart."""


def frontier_figure(found: Frontier, styles: Mapping[str, LineStyle]) -> Figure:
    """Accuracy against the cost of one cell and, if something was spent once, against both together."""
    columns = (ALONE, TOGETHER) if found.once else (ALONE,)
    looks = _looks([point for points in found.points.values() for point in points], styles)
    legend = list(_legend(looks))
    height = 3.1 * len(found.points) + 0.2 * -(-len(legend) // 4)
    figure = Figure(figsize=(9.2, height), layout="constrained")
    panels = figure.subplots(len(found.points), len(columns), sharey=True, squeeze=False)
    for row, (unit, points) in zip(panels, found.points.items(), strict=True):
        error_axis(row[0], [(point.accuracy, 0.0) for point in points])
        for axes, column in zip(row, columns, strict=True):
            axes.set_xlabel(f"{LABELS[unit]} {column.title} (log scale)")
            _draw(axes, [point for point in points if getattr(point, column.cost)], column, looks)
    figure.legend(handles=legend, loc="outside upper left", ncols=4, handlelength=3)
    return figure


def _looks(points: Iterable[Point], styles: Mapping[str, LineStyle]) -> Looks:
    """Dense first; a method that was trained in several ways has a line of another kind for each."""
    found: dict[tuple[str, str], LineStyle] = {}
    for point in sorted(points, key=lambda point: (not point.dense, point.method, point.settings)):
        if (point.method, point.settings) in found:
            continue
        style = DENSE if point.dense else styles[point.method]
        before = sum(method == point.method for method, _ in found)
        line = LINES[(LINES.index(style.line) + before) % len(LINES)] if style.line else ""
        found[point.method, point.settings] = replace(style, line=line)
    return found


def _legend(looks: Looks) -> Iterator[Line2D]:
    for (method, settings), style in looks.items():
        label = shown(f"{method} ({settings})" if settings else method)
        yield Line2D([], [], color=style.color, linestyle=style.line, marker=style.marker, markersize=7, label=label)
    yield Line2D([], [], color=GREY, linestyle=":", marker="o", label="Pareto set at its sparsity")
    yield Line2D([], [], color=INK, linestyle="", marker="o", markersize=11, markerfacecolor="none", label="Pareto set")


def _draw(axes: Axes, points: Sequence[Point], column: Column, looks: Looks) -> None:
    if not points:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", color=GREY)
        return
    for key, style in looks.items():
        curve = [point for point in points if (point.method, point.settings) == key]
        if curve:
            curve.sort(key=attrgetter("sparsity"))
            x, y = zip(*map(column.place, curve), strict=True)
            axes.plot(x, y, color=style.color, alpha=0.45, linestyle=style.line, linewidth=1.3)
    for point in points:
        style = looks[point.method, point.settings]
        _draw_point(axes, column.place(point), style, point.dense or column.best(point), getattr(point, column.mark))
        _tell(axes, point, column)
    cost_axis(axes, [column.place(point)[0] for point in points])
    _draw_steps(axes, points, column)


def _draw_point(axes: Axes, place: tuple[float, float], style: LineStyle, best: bool, best_of_all: bool) -> None:
    """Draw a point: full if it is in the Pareto set of its sparsity, else hollow; ringed if it is in the set of all."""
    face, size, layer = (style.color, 7, 4) if best else ("white", 5, 3)
    look: dict[str, Any] = {"color": style.color, "marker": style.marker, "markersize": size, "markerfacecolor": face}
    axes.plot(*place, **look, markeredgewidth=1.2, zorder=layer)
    if best_of_all:
        axes.plot(*place, color=INK, marker="o", markersize=13, markerfacecolor="none", zorder=5)


def _tell(axes: Axes, point: Point, column: Column) -> None:
    x, y = column.place(point)
    title = point.method if point.dense else f"{point.method}, {percent(point.sparsity)} sparse"
    spread = "" if point.half_width is None else f" ± {point.half_width:.2f}"
    cost = f"{cost_text(x, point.unit)}{'' if point.unit == 'seconds' else f' {LABELS[point.unit]}'} {column.title}"
    tell(axes, x, y, title, point.settings, f"{y:.2f}{spread} %", cost)


def _draw_steps(axes: Axes, points: Sequence[Point], column: Column) -> None:
    """Draw the highest accuracy that is reached up to each cost, at a few sparsities."""
    sparsities = sorted({point.sparsity for point in points if column.best(point)})
    few = sparsities[:: -(-max(len(sparsities) - 1, 1) // (STEPS - 1))]
    end, labels = axes.get_xlim()[1], []
    for sparsity in [*few, *(sparsities[-1:] if sparsities[-1:] != few[-1:] else [])]:
        best = sorted(column.place(point) for point in points if point.sparsity == sparsity and column.best(point))
        x, y = zip(*best, (end, best[-1][1]), strict=True)
        axes.plot(x, y, drawstyle="steps-post", color=GREY, linewidth=0.8, linestyle=":", zorder=2)
        labels.append((y[-1], percent(sparsity)))
    _label(axes, labels)


def _label(axes: Axes, labels: Sequence[tuple[float, str]]) -> None:
    """Write texts right of the axes; those that would overlap share a line."""
    to_axes = axes.transData + axes.transAxes.inverted()
    lines: list[tuple[float, list[str]]] = []
    for y, text in sorted(labels, reverse=True):
        height = to_axes.transform((axes.get_xlim()[1], y))[1]
        if lines and lines[-1][0] - height < APART:
            lines[-1][1].append(text)
        else:
            lines.append((height, [text]))
    for height, texts in lines:
        axes.text(1.01, height, ", ".join(texts), transform=axes.transAxes, va="center", color=GREY, fontsize=7)
