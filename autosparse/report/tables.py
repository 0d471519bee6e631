"""The tables of a report on accuracy, density and effective sparsity."""

import math
import statistics

from autosparse.report.collect import Method, Point, Section
from autosparse.report.formats import percent
from autosparse.report.table import NOTHING, Cell, Row, Table


def accuracy_table(section: Section) -> Table:
    """Mean and standard deviation of every method, sparsities as columns; the best pruned one of each is marked."""
    best = {sparsity: section.best(sparsity) for sparsity in section.sparsities}
    same_n = len(section.counts) == 1

    def cell(method: Method, sparsity: float) -> Cell:
        point = method.points.get(sparsity)
        if point is None:
            return NOTHING
        mean, std = f"{point.mean:.2f}", "" if point.std is None else f"{point.std:.2f}"
        note = " ".join(filter(None, [f"± {std}" if std else "", "" if same_n else f"({point.n})"]))
        mark = "best" if method in best[sparsity] else ""
        plain = f"{mean} ±{std} ({point.n})" if std else f"{mean} ({point.n})"
        return Cell(mean, (note,) if note else (), mark, plain=plain)

    rows = [_row(method, [cell(method, sparsity) for sparsity in section.sparsities]) for method in section.methods]
    columns = ["method", *map(percent, section.sparsities)]
    return Table(f"Test accuracy, {section.title}", columns, rows, "wide stacked" if len(columns) > 8 else "wide")


def density_table(section: Section) -> Table | None:
    """Mean density of each layer at the highest sparsity; None if only dense ran or no densities were logged."""
    top = section.top_sparsity
    if top is None:
        return None
    methods = [method for method in section.pruned if top in method.points]
    densities = [method.points[top].densities() for method in methods]
    layers = section.in_order(layer for found in densities for layer in found)
    if not layers:
        return None
    rows = [Row(layer, [_density(found.get(layer)) for found in densities]) for layer in layers]
    collapsed = [Cell(f"{method.points[top].collapsed} of {method.points[top].n}") for method in methods]
    return Table(
        f"Density at {percent(top)}, {section.title}",
        ["layer", *(method.name for method in methods)],
        rows,
        "tight" if len(methods) > 6 else "",
        foot=Row("runs with a collapsed layer", collapsed),
    )


def effect_table(section: Section) -> Table | None:
    """Effective sparsity of the pruned networks; None if it was not measured."""
    sparsities = section.pruned_sparsities
    rows = [_row(method, [_effect(method.points.get(s)) for s in sparsities]) for method in section.pruned]
    if not any(cell != NOTHING for row in rows for cell in row.cells):
        return None
    return Table(f"Effective sparsity, {section.title}", ["method", *map(percent, sparsities)], rows, "wide")


def _row(method: Method, cells: list[Cell]) -> Row:
    return Row(method.name, cells, " ".join(name for name in ("dense", "learned") if getattr(method, name)))


def _effect(point: Point | None) -> Cell:
    sparsity = point.values("effective_sparsity") if point else []
    if not point or not sparsity:
        return NOTHING
    return _counted(_sparsity_text(sparsity), point.disconnected)


def _sparsity_text(values: list[float]) -> str:
    """Sparsity in percent, with two digits of the density, which are enough to tell high sparsities apart."""
    density = 100 * (1 - statistics.fmean(values))
    digits = 0 if density <= 0 else min(max(1 - math.floor(math.log10(density)), 1), 4)
    return f"{100 - density:.{digits}f}"


def _density(values: list[float] | None) -> Cell:
    if values is None:
        return NOTHING
    return _counted(f"{100 * statistics.fmean(values):.3g}", sum(value == 0 for value in values))


def _counted(text: str, collapsed: int) -> Cell:
    """A mean, and the number of runs in which nothing was left."""
    return Cell(f"{text} ✕{collapsed}", mark="collapsed") if collapsed else Cell(text)
