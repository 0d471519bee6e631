"""How far the masks of methods agree, the survival scores of IRP runs, and the first and last masks of a training."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch

from autosparse.analysis import concordance, estimated_iou
from autosparse.report.collect import Point, Section
from autosparse.report.collect_autos import IrpRun
from autosparse.report.formats import percent
from autosparse.report.table import NOTHING, Cell, Row, Table
from autosparse.results.samples import Sample

Thing = TypeVar("Thing")
CHANGING_NOTE = (
    "Of the weights that the first or the last masks keep, the share that both keep; of all weights, the share that "
    "was kept at some step. Means over seeds."
)


def overlap_table(section: Section) -> Table | None:
    """IoU of the masks of methods at the highest sparsity, mean over seeds; None for fewer than two methods."""
    top = section.top_sparsity
    if top is None:
        return None
    points = [(method.name, method.points[top]) for method in section.pruned if top in method.points]
    points = [(name, point) for name, point in points if point.sketches]
    title = f"Overlap of masks at {percent(top)}, {section.title}"
    return _square(title, points, _overlap) if len(points) > 1 else None


def concordance_tables(runs: Iterable[IrpRun]) -> list[Table]:
    """Concordance of the survival scores of the IRP runs on one network, if there are several; a table per network.

    Each weight of a sample counts by the number of weights that it stands for. Pairs of runs that start from the same
    weights are marked.
    """
    networks: dict[tuple[object, ...], list[tuple[str, Sample]]] = {}
    for run in runs:
        if run.sample is not None:
            weights = (*run.sample.layers, run.sample.layer.tobytes(), run.sample.position.tobytes())
            networks.setdefault((run.run.tags["model"], *weights), []).append((run.run.name, run.sample))
    return [
        _square(f"Agreement of survival scores, {key[0]}", samples, _concordance)
        for key, samples in networks.items()
        if len(samples) > 1
    ]


def changing_table(section: Section) -> Table | None:
    """Overlap of the last masks with the first, and weights ever alive, of methods that change masks; None if none."""
    methods = [m for m in section.pruned if any(point.values("mask_changes") for point in m.points.values())]
    if not methods:
        return None
    sparsities = sorted({sparsity for method in methods for sparsity in method.points})
    rows = [Row(method.name, [_moved(method.points.get(s)) for s in sparsities]) for method in methods]
    columns = ["method", *map(percent, sparsities)]
    return Table(
        f"Masks that change in training, {section.title}", columns, rows, "wide stacked", notes=(CHANGING_NOTE,)
    )


def _square(title: str, named: Sequence[tuple[str, Thing]], compare: Callable[[Thing, Thing], Cell]) -> Table:
    rows = [
        Row(label, [NOTHING if one is other else compare(one, other) for _, other in named]) for label, one in named
    ]
    return Table(title, ["", *(label for label, _ in named)], rows, "square tight" if len(rows) > 8 else "square")


def _overlap(a: Point, b: Point) -> Cell:
    found = [estimated_iou(a.sketches[seed], b.sketches[seed]) for seed in a.sketches.keys() & b.sketches.keys()]
    return _agreement(statistics.fmean(found)) if found else NOTHING


def _concordance(a: Sample, b: Sample) -> Cell:
    x, y, weight = (torch.from_numpy(v.copy()) for v in (a.columns["survival"], b.columns["survival"], a.weight))
    same = np.array_equal(a.columns["param"], b.columns["param"])
    return _agreement(concordance(x, y, weight), "marked" if same else "")


def _agreement(value: float, mark: str = "") -> Cell:
    """The cell for an agreement, which is 1 if two things are the same."""
    return Cell(f"{value:.2f}".replace("-0.00", "0.00"), mark=mark, shade=round(60 * max(value, 0.0)))


def _moved(point: Point | None) -> Cell:
    overlap, alive = (point.values("mask_overlap"), point.values("mask_ever_alive")) if point else ([], [])
    if not overlap or not alive:
        return NOTHING
    told, ever = (f"{100 * statistics.fmean(values):.1f}%" for values in (overlap, alive))
    return Cell(f"overlap {told}", (f"ever alive {ever}",), plain=f"overlap {told}, ever alive {ever}")
