"""Sort cells into the fields of the frontier: who competes with whom for accuracy at a cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autosparse.report.collect import METRIC
from autosparse.results.costs import UNITS, Ledger
from autosparse.results.frontier import Point, points_of
from autosparse.results.groups import groups_of
from autosparse.results.runs import Run


@dataclass(frozen=True)
class Frontier:
    """The points of one model and data set, by unit of cost.

    It has only units in which the costs of two pruned methods are known.
    """

    title: str
    """``model on dataset``."""
    points: dict[str, list[Point]]
    """By unit: ``seconds``, ``images``, ``flops``; in the same order in each."""
    left_out: tuple[str, ...]
    """Which methods have no place in the plot of a unit, and why; a line each."""

    @property
    def once(self) -> bool:
        """Whether something was spent once for all cells of a method."""
        return any(point.once for points in self.points.values() for point in points)


def frontiers_of(
    cells: Iterable[Run], irp: Sequence[Run], scorers: Sequence[Run], sweeps: Sequence[Run]
) -> list[Frontier]:
    """A frontier for each model and data set on which at least two pruned methods tell their cost."""
    cells = [cell for cell in cells if METRIC in cell.metrics]
    ledger, groups = Ledger(cells, irp, scorers, sweeps), groups_of(cells)
    found = []
    for network in sorted({(group.model, group.dataset) for group in groups}):
        of_network = [group for group in groups if (group.model, group.dataset) == network]
        units = {unit: points_of(of_network, ledger, unit) for unit in UNITS}
        shown = {unit: points for unit, points in units.items() if len(_known(points)) > 1}
        if shown:
            notes = [note for unit, points in units.items() for note in _notes(unit, points)]
            found.append(Frontier(" on ".join(network), shown, tuple(notes)))
    return found


def _known(points: Iterable[Point]) -> set[str]:
    return {point.method for point in points if point.cost is not None and not point.dense}


def _notes(unit: str, points: Iterable[Point]) -> list[str]:
    reasons = {(point.method, point.cost is None): point.unknown for point in points if point.unknown}
    return [
        f"{method}, {unit}{'' if of_cell else ' spent once'}: {why}"
        for (method, of_cell), why in sorted(reasons.items())
    ]
