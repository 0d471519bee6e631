"""Figure of training curves: test accuracy and training loss by epoch, a column for each of a few sparsities."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autosparse.report.collect import Point, Section
from autosparse.report.curves import at, curve_of, drawn_sparsities
from autosparse.report.style import INK, LineStyle, shown
from autosparse.report.tables import percent
from autosparse.report.tips import tell

METRICS = {"test_accuracy": "test accuracy (%)", "train_loss": "training loss"}
MARKED = 12
"""Up to this many epochs, each has a marker."""
TOLD = 40
"""Points of a curve that answer to a pointer, the last one among them."""


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
            for method, point in at(section, sparsity):
                _draw(axes, point, metric, shown(method.name), styles[method.name])
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
