"""Figure of a scorer that prunes in rounds: what it learned from each feature, in the states that IRP went through."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autosparse.report.collect_autos import Sample
from autosparse.report.style import INK, WARM, shown
from autosparse.report.tips import tell

COLUMNS = 4
BINS = 25
ENDS = (0.005, 0.995)
"""Quantiles of a feature between which it is drawn."""
OWN = frozenset({"state", "survival", "predicted"})
"""Columns that are not features."""


def states_figure(sample: Sample) -> Figure:
    """Mean survival score and mean prediction by each feature, for the weights that are left in each state of IRP.

    Least squares brings the predictions onto the scale of the survival scores, because a ranking has no scale.
    """
    names = [name for name in sample.columns if name not in OWN]
    rows = math.ceil(len(names) / COLUMNS)
    figure = Figure(figsize=(9.2, 2.1 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, min(COLUMNS, len(names)), sharey=True, squeeze=False).ravel()
    truth, predicted = sample.columns["survival"], _scaled(sample.columns["predicted"], sample.columns["survival"])
    for axes, name in zip(panels, names, strict=False):
        x = sample.columns[name]
        _mean_line(axes, x, truth, INK, "survival score")
        _mean_line(axes, x, predicted, WARM[0], "prediction")
        axes.set_xlabel(shown(name))
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[:: min(COLUMNS, len(names))]:
        axes.set_ylabel("mean score")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _scaled(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if predicted.std() == 0:
        return np.full_like(predicted, truth.mean())
    slope, intercept = np.polyfit(predicted, truth, 1)
    return slope * predicted + intercept


def _mean_line(axes: Axes, x: np.ndarray, y: np.ndarray, color: str, label: str) -> None:
    """Draw means in bins with about equal numbers of weights; a feature with few values has a point at each."""
    low, high = np.quantile(x, ENDS)
    inside = (x >= low) & (x <= high)
    x, y = x[inside], y[inside]
    edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)))
    index = np.digitize(x, edges[1:-1])
    count = np.bincount(index)
    filled = count > 0
    centres, means = (np.bincount(index, v)[filled] / count[filled] for v in (x, y))
    axes.plot(centres, means, color=color, linewidth=1.5, marker="o" if len(centres) < 8 else "", label=label)
    for centre, mean in zip(centres, means, strict=True):
        tell(axes, centre, mean, label, f"mean {mean:.3f} near {centre:.3g}")
