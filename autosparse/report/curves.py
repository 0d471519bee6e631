"""Training curves of the methods of a section, averaged over seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from autosparse.report.collect import Method, Point, Section
from autosparse.tracking.curves import TAG, unpack

MOST = 3
"""Most sparsities that are drawn; of more, the lowest, the middle and the highest one."""


@dataclass(frozen=True)
class Curve:
    """A metric over epochs: its mean and standard deviation over seeds; the latter is 0 for one seed."""

    epochs: list[int]
    mean: list[float]
    std: list[float]


def curve_of(point: Point, metric: str) -> Curve | None:
    """The curve of one method at one sparsity; None for runs that an older version logged."""
    by_epoch: dict[int, list[float]] = {}
    for run in point.runs:
        curves = unpack(run.tags[TAG]) if TAG in run.tags else {}
        for epoch, value in zip(curves.get("epochs", ()), curves.get(metric, ()), strict=False):
            by_epoch.setdefault(int(epoch), []).append(value)
    if not by_epoch:
        return None
    epochs = sorted(by_epoch)
    values = [by_epoch[epoch] for epoch in epochs]
    return Curve(epochs, [statistics.fmean(of_epoch) for of_epoch in values], [_std(of_epoch) for of_epoch in values])


def drawn_sparsities(section: Section) -> list[float]:
    """Sparsities that have curves of more than one epoch, thinned to a few."""
    found = sorted({s for method in section.pruned for s, point in method.points.items() if _has_curve(point)})
    return found if len(found) <= MOST else [found[0], found[len(found) // 2], found[-1]]


def has_curves(section: Section) -> bool:
    """Whether there is anything to draw."""
    return bool(drawn_sparsities(section))


def at(section: Section, sparsity: float) -> Sequence[tuple[Method, Point]]:
    """The methods that have runs at a sparsity, with their points."""
    return [(method, method.points[sparsity]) for method in section.pruned if sparsity in method.points]


def _has_curve(point: Point) -> bool:
    curve = curve_of(point, "test_accuracy")
    return curve is not None and len(curve.epochs) > 1


def _std(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
