"""The tables of a report as text with marks, the same for the page and the terminal."""

import math
import statistics
from dataclasses import dataclass

from autosparse.report.collect import Method, Point, Section

UNITS = ("", "k", "M", "G", "T", "P")


@dataclass(frozen=True)
class Entry:
    """A mean over seeds and how far they spread; ``std`` is empty for one seed."""

    mean: str
    std: str
    n: int
    best: bool = False

    @property
    def text(self) -> str:
        """``97.31 ±0.12``, which breaks before the sign if it must."""
        return f"{self.mean} ±{self.std}" if self.std else self.mean


@dataclass(frozen=True)
class Density:
    """A layer's mean density in percent, and in how many runs it kept no weight at all."""

    mean: str
    collapsed: int


@dataclass(frozen=True)
class AccuracyTable:
    """Methods as rows, sparsities as columns; None if there is no run."""

    columns: list[str]
    rows: list[tuple[Method, list[Entry | None]]]


@dataclass(frozen=True)
class DensityTable:
    """Layers as rows, methods as columns, at one sparsity."""

    sparsity: str
    methods: list[Method]
    rows: list[tuple[str, list[Density | None]]]
    collapsed: list[str]
    """Per method, in how many runs a layer collapsed."""

    @property
    def any_collapsed(self) -> bool:
        """Whether any layer of any run did."""
        return any(text[0] != "0" for text in self.collapsed)


@dataclass(frozen=True)
class Effect:
    """Mean effective sparsity in percent, and in how many runs no path is left."""

    sparsity: str
    disconnected: int


@dataclass(frozen=True)
class EffectTable:
    """Pruned methods as rows, sparsities as columns; None if there is no run or nothing was measured."""

    columns: list[str]
    rows: list[tuple[Method, list[Effect | None]]]

    @property
    def any_disconnected(self) -> bool:
        """Whether any network was."""
        return any(effect.disconnected for _, effects in self.rows for effect in effects if effect)


def percent(share: float) -> str:
    """``0.995`` as ``99.5%``, with as many digits as it needs and no more than six."""
    return f"{100 * share:.6g}%"


def quantity(value: float, unit: str = "") -> str:
    """``266200`` as ``266 k``, with three digits, and the unit after it."""
    power = 0 if value < 1000 else min(int(math.log10(float(f"{value:.3g}")) // 3), len(UNITS) - 1)
    scaled = value / 1000**power
    digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
    text = f"{scaled:.{digits}f}" if power or value != round(value) else f"{value:.0f}"
    return f"{text} {UNITS[power]}{unit}".strip()


def duration(seconds: float) -> str:
    """``0.45 s``, ``12 s``, ``3 min 20 s``, ``5 h 7 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min"


def seeds_text(counts: list[int]) -> str:
    """``n = 3 seeds``, or the range where it differs; for a title."""
    if not counts:
        return "no runs"
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"n = {span} seed{'s' if span != '1' else ''}"


def accuracy_table(section: Section) -> AccuracyTable:
    """Mean and standard deviation of every method; the best pruned one of each sparsity is marked."""
    best = {
        sparsity: max((m.points[sparsity].mean for m in section.pruned if sparsity in m.points), default=None)
        for sparsity in section.sparsities
    }

    def entry(method: Method, sparsity: float) -> Entry | None:
        point = method.points.get(sparsity)
        if point is None:
            return None
        std = "" if point.std is None else f"{point.std:.2f}"
        return Entry(f"{point.mean:.2f}", std, point.n, not method.dense and point.mean == best[sparsity])

    rows = [(method, [entry(method, sparsity) for sparsity in section.sparsities]) for method in section.methods]
    return AccuracyTable([percent(sparsity) for sparsity in section.sparsities], rows)


def density_table(section: Section) -> DensityTable | None:
    """Mean density of each layer at the highest sparsity; None if only dense ran or no densities were logged."""
    top = section.top_sparsity
    if top is None:
        return None
    methods = [method for method in section.pruned if top in method.points]
    densities = [method.points[top].densities() for method in methods]
    layers = section.in_order(layer for found in densities for layer in found)
    if not layers:
        return None
    rows = [(layer, [_density(found.get(layer)) for found in densities]) for layer in layers]
    collapsed = [f"{method.points[top].collapsed} of {method.points[top].n}" for method in methods]
    return DensityTable(percent(top), methods, rows, collapsed)


def effect_table(section: Section) -> EffectTable | None:
    """Effective sparsity of the pruned networks; None if it was not measured."""
    sparsities = sorted({sparsity for method in section.pruned for sparsity in method.points})
    rows = [(method, [_effect(method.points.get(sparsity)) for sparsity in sparsities]) for method in section.pruned]
    if not any(effect for _, effects in rows for effect in effects):
        return None
    return EffectTable([percent(sparsity) for sparsity in sparsities], rows)


def _effect(point: Point | None) -> Effect | None:
    sparsity = point.values("effective_sparsity") if point else []
    return Effect(_sparsity_text(sparsity), point.disconnected) if point and sparsity else None


def _sparsity_text(values: list[float]) -> str:
    """In percent, with digits enough to tell high sparsities apart: two of the density."""
    density = 100 * (1 - statistics.fmean(values))
    digits = 0 if density <= 0 else min(max(1 - math.floor(math.log10(density)), 1), 4)
    return f"{100 - density:.{digits}f}"


def _density(values: list[float] | None) -> Density | None:
    if values is None:
        return None
    return Density(f"{100 * statistics.fmean(values):.3g}", sum(value == 0 for value in values))
