"""Figure of training curves: test accuracy and training loss by epoch, a column for each of a few sparsities."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autosparse.report.collect import Point, Section
from autosparse.report.formats import percent
from autosparse.report.style import INK, LineStyle, shown
from autosparse.report.tips import tell
from autosparse.tracking.curves import TAG, unpack

MOST = 3
"""Most sparsities that are drawn; of more, the lowest, the middle and the highest one."""
METRICS = {"test_accuracy": "test accuracy (%)", "train_loss": "training loss"}
MARKED = 12
"""Up to this many epochs, each has a marker."""
TOLD = 40
"""Points of a curve that have a tooltip, the last one among them."""


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
    std = [statistics.stdev(of_epoch) if len(of_epoch) > 1 else 0.0 for of_epoch in values]
    return Curve(epochs, [statistics.fmean(of_epoch) for of_epoch in values], std)


def drawn_sparsities(section: Section) -> list[float]:
    """Sparsities that have curves of more than one epoch, thinned to a few; empty if there is nothing to draw."""
    found = sorted({s for method in section.pruned for s, point in method.points.items() if _has_curve(point)})
    return found if len(found) <= MOST else [found[0], found[len(found) // 2], found[-1]]


def _has_curve(point: Point) -> bool:
    curve = curve_of(point, "test_accuracy")
    return curve is not None and len(curve.epochs) > 1


def curves_figure(section: Section, styles: Mapping[str, LineStyle]) -> Figure:
    """Mean curves with bands of one standard deviation; the unpruned network, dashed, in each column."""
    sparsities = drawn_sparsities(section)
    figure = Figure(figsize=(9.2, max(4.8, 0.29 * len(section.methods))), layout="constrained")
    panels = figure.subplots(2, len(sparsities), sharex=True, sharey="row", squeeze=False)
    for row, (metric, label) in zip(panels, METRICS.items(), strict=True):
        row[0].set_ylabel(label)
        for axes, sparsity in zip(row, sparsities, strict=True):
            if section.dense:
                _draw(axes, section.dense, metric, "dense", LineStyle(INK, "", "--", False))
            for method in section.pruned:
                if sparsity in method.points:
                    _draw(axes, method.points[sparsity], metric, shown(method.name), styles[method.name])
    for axes, sparsity in zip(panels[0], sparsities, strict=True):
        axes.set_title(f"{percent(sparsity)} sparsity")
    _spread(panels[1])
    for axes in panels[1]:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    labels = {line.get_label(): line for axes in panels[0] for line in axes.get_lines()}
    order = [name for name in ("dense", *(shown(m.name) for m in section.pruned)) if name in labels]
    handles = [labels[name] for name in order]
    figure.legend(handles, order, loc="outside right upper", handlelength=3, labelspacing=0.8)
    return figure


def _spread(panels: Iterable[Axes]) -> None:
    """Draw losses on a log scale if they differ much."""
    first, *_ = drawn = list(panels)
    losses = np.concatenate([np.asarray(line.get_ydata(), float) for axes in drawn for line in axes.get_lines()])
    if losses.min() > 0 and losses.max() > 10 * losses.min():
        first.set_yscale("log")  # for all panels: they share the axis
        first.set_ylim(losses.min() / 1.5, losses.max() * 1.5)  # a band may reach below 0
        first.yaxis.set_major_formatter("{x:g}")
        first.yaxis.set_minor_formatter("")
        first.set_ylabel("training loss (log scale)")


def _draw(axes: Axes, point: Point, metric: str, label: str, style: LineStyle) -> None:
    curve = curve_of(point, metric)
    if curve is None:
        return
    width = 2.2 if style.emphasis else 1.3
    (line,) = axes.plot(curve.epochs, curve.mean, color=style.color, linestyle=style.line, linewidth=width, label=label)
    if len(curve.epochs) <= MARKED:
        line.set(marker=style.marker, markersize=5, markeredgecolor="white", markeredgewidth=0.5)
    for place in range(len(curve.epochs) - 1, -1, -max(1, -(-len(curve.epochs) // TOLD))):
        spread = f" ± {curve.std[place]:.3g}" if point.n > 1 else ""
        value = f"{METRICS[metric]}: {curve.mean[place]:.4g}{spread}"
        tell(axes, curve.epochs[place], curve.mean[place], label, f"epoch {curve.epochs[place]}", value)
    if any(curve.std):
        low = [mean - std for mean, std in zip(curve.mean, curve.std, strict=True)]
        high = [mean + std for mean, std in zip(curve.mean, curve.std, strict=True)]
        axes.fill_between(curve.epochs, low, high, color=style.color, alpha=0.15, linewidth=0)
