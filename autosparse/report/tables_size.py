"""What pruning leaves of a network: its weights, and the FLOPs that they take."""

import statistics
from dataclasses import dataclass

from autosparse.report.collect import Point, Section
from autosparse.report.tables import percent, quantity


@dataclass(frozen=True)
class Size:
    """Weights that stay, and FLOPs of one image with them; ``flops`` is empty if they were not measured."""

    weights: str
    flops: str


@dataclass(frozen=True)
class SizeTable:
    """Pruned methods as rows, together if they leave the same; sparsities as columns; None if there is no run."""

    before: str
    """The network that is pruned, in words."""
    columns: list[str]
    rows: list[tuple[str, list[Size | None]]]


def size_table(section: Section) -> SizeTable | None:
    """Prunable weights and FLOPs after pruning, means over seeds; None if they are not known."""
    points = [point for method in section.pruned for point in method.points.values()]
    totals = [total for point in points for total in point.values("total")]
    if not totals:
        return None
    sparsities = sorted({sparsity for method in section.pruned for sparsity in method.points})
    alike: dict[tuple[Size | None, ...], list[str]] = {}
    for method in section.pruned:
        alike.setdefault(tuple(_size(method.points.get(s)) for s in sparsities), []).append(method.name)
    rows = [("all methods" if len(alike) == 1 else ", ".join(names), list(sizes)) for sizes, names in alike.items()]
    return SizeTable(_before(points, totals[0]), [percent(sparsity) for sparsity in sparsities], rows)


def _before(points: list[Point], total: float) -> str:
    parameters = next((value for point in points for value in point.values("parameters")), None)
    flops = next((value for point in points for value in point.values("flops_dense")), None)
    text = f"{total:,.0f} weights that can be pruned"
    if parameters is not None:
        text = f"{parameters:,.0f} parameters, among them {text}"
    return text if flops is None else f"{text}, and {quantity(flops, 'FLOPs')} per image"


def _size(point: Point | None) -> Size | None:
    kept, total = (point.values("kept"), point.values("total")) if point else ([], [])
    if point is None or not kept or not total:
        return None
    flops, shares = point.values("flops_pruned"), point.values("flops_share")
    return Size(
        _with_share(statistics.fmean(kept), statistics.fmean(kept) / statistics.fmean(total)),
        _with_share(statistics.fmean(flops), statistics.fmean(shares)) if flops and shares else "",
    )


def _with_share(value: float, share: float) -> str:
    return f"{quantity(value)} ({100 * share:.2g}%)"
