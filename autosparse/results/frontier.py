"""Accuracy against the cost of everything that was needed to get there: where each method stands, and which are beaten.

Pruned networks of one model on one version of one data set compete, however they were trained, because a shorter
training is one way to cost less. The dense network is among the points, but does not compete, because it has not been
pruned.

All means are plain. While a grid is half done, they are over different seeds; then ``best --winners``, which takes
easy seeds into account, is the fairer judge of accuracy.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.fields import DENSE
from autosparse.results.cell_table import finished_cells
from autosparse.results.costs import UNITS, Ledger, NotRecorded
from autosparse.results.direction import direction
from autosparse.results.groups import DATA, Group, groups_of, none_found
from autosparse.results.pareto import pareto
from autosparse.results.runs import Run, finished_runs
from autosparse.results.significance import half_width
from autosparse.tracking.entries import CODE

ACCURACY = "test_accuracy"


@dataclass(frozen=True)
class Point:
    """A method at one sparsity: what it reached, and what one cell of it cost. Means are over seeds."""

    model: str
    dataset: str
    settings: str
    """What sets the training apart from others of the same model and data set; empty if there is one."""
    method: str
    sparsity: float
    dense: bool
    """Whether nothing was pruned; such a point does not compete."""
    n: int
    """Number of seeds."""
    accuracy: float
    """Percent, or in the unit of another metric."""
    half_width: float | None
    """Half of the 95 % interval of ``accuracy``; None for one seed."""
    unit: str
    """The unit of costs: ``seconds``, ``images`` or ``flops``."""
    cost: float | None
    """The cost of one cell: scoring and training, and for a branch its part of the IRP run; None if unknown."""
    once: float | None
    """What was spent once for all cells of its scorer; 0 without a scorer, None if that is not known."""
    unknown: str = ""
    """Why a cost is not known; empty if both are."""
    pareto: bool = False
    """Whether no pruned network is at least as accurate for at most as much, and better in one of the two."""
    pareto_together: bool = False
    """The same by the cost of one cell and what was spent once."""
    pareto_at_sparsity: bool = False
    """``pareto`` among networks of the same sparsity."""
    pareto_together_at_sparsity: bool = False
    """``pareto_together`` among networks of the same sparsity."""

    @property
    def together(self) -> float | None:
        """The cost of one cell and what was spent once: all that was needed for the first network."""
        return None if self.cost is None or self.once is None else self.cost + self.once

    @property
    def row(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "together": self.together}


def frontier(
    client: MlflowClient, experiment: str, unit: str = "seconds", metric: str = ACCURACY, sparsity: float | None = None
) -> list[Point]:
    """The points of an experiment: by model and data set, the cheapest first, those of unknown cost last.

    :param unit: the unit of costs: ``seconds``, ``images`` or ``flops``, see :mod:`autosparse.results.costs`.
    :param metric: a metric of which more is better.
    :param sparsity: if given, only points at this sparsity.
    :raises AutosparseError: if no cell matches, no cost is known, or the unit or metric is unknown or a loss.
    """
    if unit not in UNITS:
        raise UnknownName("cost", unit, UNITS)
    if direction(metric) < 0:
        raise AutosparseError(
            f"a frontier needs a metric of which more is better, and {metric!r} is not one; choose one such as "
            f"{ACCURACY!r}"
        )
    cells = finished_cells(client, experiment)
    at = [cell for cell in cells if sparsity is None or abs(float(cell.tags["sparsity"]) - sparsity) <= 1e-9]
    if not at:
        raise none_found(experiment, sparsity, (float(cell.tags["sparsity"]) for cell in cells))
    if metric not in (known := {name for cell in at for name in cell.metrics}):
        raise UnknownName("metric", metric, known)
    kinds = (finished_runs(client, experiment, kind) for kind in ("irp", "scorer", "sweep"))
    points = points_of(groups_of(at), Ledger(cells, *kinds), unit, metric)
    if all(point.cost is None for point in points):
        raise AutosparseError(
            f"the {unit} of experiment {experiment!r} are not known: {points[0].unknown}; run it again"
        )
    return sorted(points, key=_order)


def points_of(groups: Iterable[Group], ledger: Ledger, unit: str, metric: str = ACCURACY) -> list[Point]:
    """A point for each group of cells, with its marks; cells without the metric are left out."""
    made = [(group, _point(group, ledger, unit, metric)) for group in groups if group.values(metric)]
    fields: dict[tuple[Any, ...], list[Point]] = {}
    for group, point in made:
        same = dict(group.training)
        fields.setdefault((group.model, group.dataset, same.get(DATA), same.get(CODE)), []).append(point)
    return [point for field in fields.values() for point in _marked(field)]


def _order(point: Point) -> tuple[Any, ...]:
    cost = point.cost
    return point.model, point.dataset, cost is None, cost or 0.0, -point.accuracy, point.method, point.sparsity


def _point(group: Group, ledger: Ledger, unit: str, metric: str) -> Point:
    measured = group.values(metric)
    values, cells = list(measured.values()), [group.runs[seed] for seed in measured]
    cost, no_cost = _mean(ledger.of_cell, cells, unit)
    once, no_once = _mean(ledger.once, cells, unit)
    what = group.model, group.dataset, group.note, group.name, group.sparsity
    dense = dict(group.method).get("criterion", group.label) == DENSE
    reached = len(values), statistics.fmean(values), half_width(values)
    return Point(*what, dense, *reached, unit, cost, once, no_cost or no_once)


def _mean(ask: Callable[[Run, str], float], cells: Iterable[Run], unit: str) -> tuple[float | None, str]:
    """The mean over the cells whose cost is known; None, and why, if no cost is known."""
    found, why = [], ""
    for cell in cells:
        try:
            found.append(ask(cell, unit))
        except NotRecorded as reason:
            why = str(reason)
    return (statistics.fmean(found), "") if found else (None, why)


def _marked(points: Sequence[Point]) -> list[Point]:
    """The points of one field of rivals, with their marks."""
    marks: list[dict[str, Any]] = [{} for _ in points]
    at_sparsity: dict[float, list[int]] = {}
    for i, point in enumerate(points):
        at_sparsity.setdefault(round(point.sparsity, 9), []).append(i)
    for mark, name in (("pareto", "cost"), ("pareto_together", "together")):
        costs = {i: getattr(point, name) for i, point in enumerate(points) if not point.dense}
        for ending, fields in (("", [list(range(len(points)))]), ("_at_sparsity", at_sparsity.values())):
            for field in fields:
                rivals = [i for i in field if costs.get(i) is not None]
                optimal = pareto([(costs[i], points[i].accuracy) for i in rivals])
                for i, best in zip(rivals, optimal, strict=True):
                    marks[i][mark + ending] = best
    return [replace(point, **mark) for point, mark in zip(points, marks, strict=True)]
