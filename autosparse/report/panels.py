"""What several figures draw alike: a row of small panels, and the means in bins."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autosparse.report.style import shown

COLUMNS = 4
BINS = 25


def small_panels(names: Sequence[str], room: float) -> tuple[Figure, list[Axes]]:
    """A figure, and its panels for a mean score by each of ``names``, four in a row.

    :param room: inches of its height that are not for panels.
    """
    rows, across = math.ceil(len(names) / COLUMNS), min(COLUMNS, len(names))
    figure = Figure(figsize=(9.2, 2.1 * rows + room), layout="constrained")
    panels = figure.subplots(rows, across, sharey=True, squeeze=False).ravel().tolist()
    for axes, name in zip(panels, names, strict=False):
        axes.set_xlabel(shown(name))
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[::across]:
        axes.set_ylabel("mean score")
    return figure, panels[: len(names)]


def binned_means(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means of x and of y, (bins,) each, in bins of x with about equal numbers of points."""
    edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)))
    index = np.digitize(x, edges[1:-1])
    mass = np.bincount(index, weight)
    filled = mass > 0
    centres, means = (np.bincount(index, weight * values)[filled] / mass[filled] for values in (x, y))
    return centres, means
