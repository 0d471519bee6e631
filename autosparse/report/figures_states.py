"""Figure of a scorer that prunes in rounds: what it learned from each feature, in the states that IRP went through."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autosparse.report.collect_autos import Sample
from autosparse.report.panels import binned_means, small_panels
from autosparse.report.style import INK, WARM
from autosparse.report.tips import tell

ENDS = (0.005, 0.995)
"""Quantiles of a feature between which it is drawn."""
OWN = frozenset({"state", "survival", "predicted"})
"""Columns that are not features."""


def states_figure(sample: Sample) -> Figure:
    """Mean survival score and mean prediction by each feature, for the weights that are left in each state of IRP.

    Least squares brings the predictions onto the scale of the survival scores, because a ranking has no scale.
    """
    names = [name for name in sample.columns if name not in OWN]
    figure, panels = small_panels(names, room=0.5)
    truth, predicted = sample.columns["survival"], _scaled(sample.columns["predicted"], sample.columns["survival"])
    for axes, name in zip(panels, names, strict=True):
        x = sample.columns[name]
        _mean_line(axes, x, truth, INK, "survival score")
        _mean_line(axes, x, predicted, WARM[0], "prediction")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _scaled(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if predicted.std() == 0:
        return np.full_like(predicted, truth.mean())
    slope, intercept = np.polyfit(predicted, truth, 1)
    return slope * predicted + intercept


def _mean_line(axes: Axes, x: np.ndarray, y: np.ndarray, color: str, label: str) -> None:
    """Draw the means of y by x; a feature with few values has a point at each."""
    low, high = np.quantile(x, ENDS)
    inside = (x >= low) & (x <= high)
    x, y = x[inside], y[inside]
    centres, means = binned_means(x, y, np.ones(len(x)))
    axes.plot(centres, means, color=color, linewidth=1.5, marker="o" if len(centres) < 8 else "", label=label)
    for centre, mean in zip(centres, means, strict=True):
        tell(axes, centre, mean, label, f"mean {mean:.3f} near {centre:.3g}")
