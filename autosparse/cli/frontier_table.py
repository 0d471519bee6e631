"""How `autosparse best --frontier` shows its points."""

from collections import Counter
from typing import Any

from autosparse.cli import common
from autosparse.report.formats import cost_text
from autosparse.report.tables_frontier import mark
from autosparse.results.frontier import Point


def table_rows(points: list[Point]) -> list[dict[str, Any]]:
    """Rows of few columns, for 80 characters; a mark stands beside the cost that it is about.

    The number of seeds stands in brackets if other points have more.
    """
    several = len({(point.model, point.dataset) for point in points}) > 1
    trainings = Counter(method for method, _ in {(point.method, point.settings) for point in points})
    most = max((point.n for point in points), default=0)
    return [
        {
            "network": f"{point.model} on {point.dataset}" if several else "",
            "method": point.method,
            "settings": point.settings if trainings[point.method] > 1 else "",
            "sparsity": f"{100 * point.sparsity:g}%",
            "accuracy": common.plus_minus(point.accuracy, point.half_width).replace("± ", "±")
            + (f" ({point.n})" if point.n < most else ""),
            "one cell": _cost(point, point.cost, point.pareto, point.pareto_at_sparsity),
            "once": _cost(point, point.once) if point.once != 0 else "",
            "together": _cost(point, point.together, point.pareto_together, point.pareto_together_at_sparsity)
            if point.once != 0
            else mark(point.pareto_together, point.pareto_together_at_sparsity).strip(),
        }
        for point in points
    ]


def unknown_costs(points: list[Point]) -> list[str]:
    """Why costs are not known, a line for each method and reason."""
    return sorted({f"{point.method}: {point.unknown}" for point in points if point.unknown})


def _cost(point: Point, cost: float | None, best: bool = False, best_there: bool = False) -> str:
    return "?" if cost is None else cost_text(cost, point.unit) + mark(best, best_there)
