"""How far masks have moved that change in training."""

import statistics

from autosparse.report.collect import Point, Section
from autosparse.report.table import NOTHING, Cell, Row, Table
from autosparse.report.tables import percent

NOTE = (
    "Of the weights that the first or the last masks keep, the share that both keep; of all weights, the share that "
    "was kept at some step. Means over seeds."
)


def changing_table(section: Section) -> Table | None:
    """Overlap of the last masks with the first, and weights ever alive, of methods that change masks; None if none."""
    methods = [m for m in section.pruned if any(point.values("mask_changes") for point in m.points.values())]
    if not methods:
        return None
    sparsities = sorted({sparsity for method in methods for sparsity in method.points})
    rows = [Row(method.name, tuple(_moved(method.points.get(s)) for s in sparsities)) for method in methods]
    columns = ["method", *map(percent, sparsities)]
    return Table(f"Masks that change in training, {section.title}", columns, rows, "wide stacked", notes=(NOTE,))


def _moved(point: Point | None) -> Cell:
    overlap, alive = (point.values("mask_overlap"), point.values("mask_ever_alive")) if point else ([], [])
    if not overlap or not alive:
        return NOTHING
    told, ever = (f"{100 * statistics.fmean(values):.1f}%" for values in (overlap, alive))
    return Cell(f"overlap {told}", (f"ever alive {ever}",), plain=f"overlap {told}, ever alive {ever}")
