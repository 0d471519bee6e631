"""Accuracy and cost of every method at every sparsity, the cheapest first."""

from autosparse.report.collect_frontier import Frontier
from autosparse.report.formats import cost_text, percent
from autosparse.report.table import NOTHING, Cell, Row, Table
from autosparse.results.frontier import Point

COLUMNS = {"seconds": "time", "images": "images", "flops": "FLOPs"}
STAR, THERE = " ★", " ☆"


def frontier_table(found: Frontier) -> Table:
    """One row per method and sparsity, the cheapest first by the first unit; marks stand beside costs."""
    rows = []
    for by_unit in sorted(zip(*found.points.values(), strict=True), key=_rank):
        point = by_unit[0]
        name = f"{point.method} ({point.settings})" if point.settings else point.method
        cells = [Cell(percent(point.sparsity)), _accuracy(point), *map(_cost, by_unit)]
        rows.append(Row(name, cells, "names" if point.settings else ""))
    columns = ["method", "sparsity", "accuracy", *(COLUMNS[unit] for unit in found.points)]
    return Table(f"Accuracy against cost, {found.title}", columns, rows, "wide stacked", notes=found.left_out)


def _rank(by_unit: tuple[Point, ...]) -> tuple[bool, float, float]:
    point = by_unit[0]
    return point.cost is None, point.cost or 0.0, -point.accuracy


def _accuracy(point: Point) -> Cell:
    half = "" if point.half_width is None else f" ± {point.half_width:.2f}"
    return Cell(f"{point.accuracy:.2f}{half} ({point.n})")


def _cost(point: Point) -> Cell:
    """The cost of one cell; below it what was spent once, and both together."""
    if point.cost is None:
        return NOTHING
    text = cost_text(point.cost, point.unit) + mark(point.pareto, point.pareto_at_sparsity)
    if point.once is None:
        return Cell(text, ("spent once: not known",))
    together = mark(point.pareto_together, point.pareto_together_at_sparsity)
    if not point.once:
        return Cell(text, (f"together{together}",) if together != mark(point.pareto, point.pareto_at_sparsity) else ())
    once, both = (cost_text(cost, point.unit) for cost in (point.once, point.cost + point.once))
    return Cell(text, (f"once {once}, together {both}{together}",))


def mark(best: bool, best_there: bool) -> str:
    """A star for a point in the Pareto set, an empty one for one in the set of its sparsity alone."""
    return STAR if best else THERE if best_there else ""
