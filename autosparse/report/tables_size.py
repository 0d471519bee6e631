"""The size of a network after pruning: its weights, and their FLOPs."""

import statistics

from autosparse.report.collect import Point, Section
from autosparse.report.formats import percent, quantity
from autosparse.report.table import NOTHING, Cell, Row, Table


def size_table(section: Section) -> Table | None:
    """Prunable weights and FLOPs after pruning, means over seeds; None if they are not known.

    Methods with equal results share a row. The note gives the size of the network before pruning.
    """
    points = [point for method in section.pruned for point in method.points.values()]
    totals = [total for point in points for total in point.values("total")]
    if not totals:
        return None
    sparsities = section.pruned_sparsities
    alike: dict[tuple[Cell, ...], list[str]] = {}
    for method in section.pruned:
        alike.setdefault(tuple(_size(method.points.get(s)) for s in sparsities), []).append(method.name)
    rows = [
        Row("all methods" if len(alike) == 1 else ", ".join(names), cells, "names") for cells, names in alike.items()
    ]
    layout = "wide stacked tight" if len(sparsities) > 5 else "wide stacked"
    columns = ["method", *map(percent, sparsities)]
    return Table(f"Size, {section.title}", columns, rows, layout, notes=(_before(points, totals[0]),))


def _before(points: list[Point], total: float) -> str:
    parameters = next((value for point in points for value in point.values("parameters")), None)
    flops = next((value for point in points for value in point.values("flops_dense")), None)
    text = f"{total:,.0f} weights that can be pruned"
    if parameters is not None:
        text = f"{parameters:,.0f} parameters, among them {text}"
    return text if flops is None else f"{text}, and {quantity(flops, 'FLOPs')} per image"


def _size(point: Point | None) -> Cell:
    kept, total = (point.values("kept"), point.values("total")) if point else ([], [])
    if point is None or not kept or not total:
        return NOTHING
    weights = _with_share(statistics.fmean(kept), statistics.fmean(kept) / statistics.fmean(total))
    flops, shares = point.values("flops_pruned"), point.values("flops_share")
    if not flops or not shares:
        return Cell(weights)
    note = f"FLOPs {_with_share(statistics.fmean(flops), statistics.fmean(shares))}"
    return Cell(weights, (note,), plain=f"{weights}, {note}")


def _with_share(value: float, share: float) -> str:
    return f"{quantity(value)} ({100 * share:.2g}%)"
