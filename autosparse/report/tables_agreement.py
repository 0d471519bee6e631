"""Square tables of a report: how far the masks of methods agree, and the survival scores of IRP runs."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from autosparse.analysis import concordance, estimated_iou
from autosparse.report.collect import Point, Section
from autosparse.report.collect_autos import IrpRun, Sample
from autosparse.report.tables import percent

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Agreement:
    """How far two things agree: 1 where they are the same."""

    value: float
    marked: bool = False

    @property
    def text(self) -> str:
        """``0.43``."""
        return f"{self.value:.2f}".replace("-0.00", "0.00")

    @property
    def shade(self) -> int:
        """Strength of the colour behind it, in percent."""
        return round(60 * max(self.value, 0.0))


@dataclass(frozen=True)
class Square:
    """The same names as rows and columns; None on the diagonal and where there is nothing to compare."""

    title: str
    names: list[str]
    rows: list[list[Agreement | None]]

    @property
    def any_marked(self) -> bool:
        """Whether any entry is marked."""
        return any(entry.marked for row in self.rows for entry in row if entry)


def overlap_table(section: Section) -> Square | None:
    """IoU of the masks of methods at the highest sparsity, mean over seeds; None for fewer than two methods."""
    top = section.top_sparsity
    if top is None:
        return None
    points = [(method.name, method.points[top]) for method in section.pruned if top in method.points]
    points = [(name, point) for name, point in points if point.sketches]
    return _square(percent(top), points, _overlap) if len(points) > 1 else None


def concordance_tables(runs: Iterable[IrpRun]) -> list[Square]:
    """Concordance of the survival scores of the IRP runs on one network, if there are several; a table per network.

    Each weight of a sample counts as often as it stands for others. Pairs that start from the same weights are marked.
    """
    networks: dict[tuple[object, ...], list[tuple[str, Sample]]] = {}
    for run in runs:
        if run.sample is not None:
            weights = (*run.sample.layers, run.sample.layer.tobytes(), run.sample.position.tobytes())
            networks.setdefault((run.run.tags["model"], *weights), []).append((run.run.name, run.sample))
    return [_square(str(key[0]), samples, _concordance) for key, samples in networks.items() if len(samples) > 1]


def _square(
    title: str, named: Sequence[tuple[str, Thing]], compare: Callable[[Thing, Thing], Agreement | None]
) -> Square:
    rows = [[None if one is other else compare(one, other) for _, other in named] for _, one in named]
    return Square(title, [name for name, _ in named], rows)


def _overlap(a: Point, b: Point) -> Agreement | None:
    seeds = a.sketches.keys() & b.sketches.keys()
    return Agreement(statistics.fmean(estimated_iou(a.sketches[s], b.sketches[s]) for s in seeds)) if seeds else None


def _concordance(a: Sample, b: Sample) -> Agreement:
    x, y, weight = (torch.from_numpy(v.copy()) for v in (a.columns["survival"], b.columns["survival"], a.weight))
    return Agreement(concordance(x, y, weight), marked=np.array_equal(a.columns["param"], b.columns["param"]))
