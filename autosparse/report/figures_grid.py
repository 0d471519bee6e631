"""Figures of accuracy: of methods against sparsity, and of an IRP run along its iterations."""

import itertools
import math
from collections.abc import Iterable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autosparse.report.axes import density_axis, error_axis
from autosparse.report.collect import METRIC, Method, Point, Section
from autosparse.report.collect_autos import IrpRun
from autosparse.report.formats import percent, seeds_text
from autosparse.report.style import GREY, INK, LineStyle, shown
from autosparse.report.tips import tell

ROUND_SPARSITIES = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)


def accuracy_figure(section: Section, styles: Mapping[str, LineStyle]) -> Figure:
    """Mean test accuracy against sparsity with bars of one standard deviation (AutoSparse Figure 3)."""
    height = max(4.4, 0.29 * len(section.methods))  # room for the legend
    figure = Figure(figsize=(9.2, height), layout="constrained")
    axes = figure.add_subplot()
    densities = [1 - sparsity for sparsity in section.pruned_sparsities]
    if densities:
        density_axis(axes, densities)
    else:
        axes.set_xticks([])
    if section.dense:
        _draw_dense(axes, section.dense, densities or [1.0])
    for method, shift in zip(section.pruned, _shifts(densities, len(section.pruned)), strict=True):
        _draw_line(axes, method, shift, styles[method.name])
    error_axis(axes, [(point.mean, point.std or 0.0) for point in section.points])
    single = section.counts == [1]
    axes.set_title(seeds_text(section.counts) + ("" if single else ", bars: ± 1 standard deviation"), color=GREY)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", handlelength=3, labelspacing=0.8)
    return figure


def _draw_dense(axes: Axes, point: Point, densities: Iterable[float]) -> None:
    axes.axhline(point.mean, color=INK, linestyle=(0, (5, 3)), linewidth=1.2, label="dense")
    if point.std is not None:
        axes.axhspan(point.mean - point.std, point.mean + point.std, color=INK, alpha=0.1, linewidth=0)
    for density in sorted(set(densities)):  # the line has a tooltip above each sparsity
        _tell(axes, density, point, "dense")


def _draw_line(axes: Axes, method: Method, shift: float, style: LineStyle) -> None:
    points = method.points
    bars = [point.std or 0.0 for point in points.values()]
    for sparsity, point in points.items():
        broken = f"{point.disconnected} without a path to the output" if point.disconnected else ""
        _tell(axes, (1 - sparsity) * shift, point, f"{method.name}, {percent(sparsity)} sparse", broken)
    size, width, layer = (8, 2.6, 4) if style.emphasis else (7, 1.3, 3)
    axes.errorbar(
        [(1 - sparsity) * shift for sparsity in points], [point.mean for point in points.values()],
        yerr=bars if any(bars) else None, elinewidth=1.2, capsize=2.5,
        color=style.color, linestyle=style.line, linewidth=width, zorder=layer, label=shown(method.name),
        marker=style.marker, markersize=size, markeredgecolor="white", markeredgewidth=0.6,
    )  # fmt: skip


def _tell(axes: Axes, density: float, point: Point, title: str, more: str = "") -> None:
    """Tell the accuracy of a point, ``91.94 ± 0.12 % (3 seeds)``, and that of each seed, with the id of its run."""
    spread = "" if point.std is None else f" ± {point.std:.2f}"
    accuracy = f"{point.mean:.2f}{spread} % ({point.n} seed{'s' if point.n != 1 else ''})"
    ordered = sorted(point.runs, key=lambda run: int(run.tags["seed"]))
    runs = [(f"seed {run.tags['seed']}: {run.metrics[METRIC]:.2f} %", run.run_id) for run in ordered]
    tell(axes, density, point.mean, title, accuracy, more, runs=runs)


def _shifts(densities: list[float], count: int) -> list[float]:
    """A factor on density per method, so that bars at the same sparsity stand side by side."""
    places = sorted({math.log10(density) for density in densities})
    gaps = [after - before for before, after in itertools.pairwise(places)]
    room = min(0.4 * min(gaps, default=0.1), 0.05 * max(sum(gaps), 0.1))
    step = room / max(count - 1, 1)
    return [10 ** (-(index - (count - 1) / 2) * step) for index in range(count)]


def iterations_figure(irp: IrpRun) -> Figure:
    """Test accuracy of the network trained in each iteration of IRP, against its sparsity."""
    figure = Figure(figsize=(9.2, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(irp.density, irp.accuracy, color=INK, marker="o", markersize=4, linewidth=1.3)
    density_axis(axes, irp.density, ticks=[1 - sparsity for sparsity in ROUND_SPARSITIES])
    axes.set_ylabel("test accuracy (%)")
    for iteration, (density, accuracy) in enumerate(zip(irp.density, irp.accuracy, strict=True), 1):
        tell(axes, density, accuracy, f"iteration {iteration}", f"{accuracy:.2f} %, {percent(1 - density)} sparse")
    return figure
