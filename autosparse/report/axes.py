"""The axes of figures: density, cost and long-tailed values on log scales, and accuracy on one if that helps."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from autosparse.report.formats import UNITS, percent

ROUND_COSTS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))
"""Digits of the ticks of costs in each decade, from few to many."""
FEW = 3
"""Fewest ticks that show that a scale is logarithmic."""
ROUND_ACCURACIES = (0, 20, 40, 60, 80, 90, 95, 97, 98, 99, 99.5, 100)
PERFECT = 100.5
"""A little more than 100 %, because an error of 0 has no logarithm."""
WIDE = 6
"""Ratio of the highest to the lowest error from which the scale is logarithmic."""


def density_axis(axes: Axes, densities: Sequence[float], ticks: Sequence[float] | None = None) -> None:
    """Make the x axis density on a log scale, sparse to the right, with ticks labelled as sparsity.

    ``ticks`` are densities too, by default those drawn; ticks out of range are left out.
    """
    low, high = math.log10(min(densities)), math.log10(max(densities))
    span = max(high - low, 0.1)
    places = sorted({math.log10(d) for d in ticks or densities if low <= math.log10(d) <= high})
    labelled: list[float] = []
    for place in places:  # start with the sparsest: its label must survive if labels collide
        if not labelled or place - labelled[-1] > 0.065 * span:
            labelled.append(place)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (high + 0.06 * span), 10 ** (low - 0.06 * span))
    axes.set_xticks([10**p for p in labelled], [percent(1 - 10**p) for p in labelled])
    axes.set_xticks([10**p for p in places if p not in labelled], minor=True)
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("sparsity (log scale of density)")


def spread_axis(axes: Axes, x: np.ndarray) -> None:
    """Spread the x axis of long-tailed values: linear near 0, logarithmic further out, smooth in between."""
    size = np.abs(x)
    largest = float(size.max(initial=0))
    width = max(float(np.median(size)), largest / 300) if len(size) else 0.0
    if largest <= 10 * width:  # no long tail
        return
    axes.set_xscale("asinh", linear_width=width)
    low, high = 1.2 * min(x.min(), -width), 1.2 * max(x.max(), width)
    axes.set_xlim(low, high)
    decades = [10.0**power for power in range(math.ceil(math.log10(3 * width)), math.ceil(math.log10(largest)) + 1)]
    ticks = [tick for tick in (*(-decade for decade in reversed(decades)), 0.0, *decades) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    """Make the x axis a log scale of costs, all of them above 0."""
    low, high = math.log10(min(costs)), math.log10(max(costs))
    room = 0.08 * max(high - low, 0.1)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (low - room), 10 ** (high + room))
    ticks = ticks_between(*axes.get_xlim())
    axes.set_xticks(ticks, [tick_text(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


def ticks_between(low: float, high: float) -> list[float]:
    """A few round numbers between two that are above 0; evenly spaced ones if the two are near each other."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    for digits in ROUND_COSTS:
        found = [tick for power in decades for digit in digits if low <= (tick := digit * 10.0**power) <= high]
        if len(found) >= FEW:
            return found
    return [tick for tick in MaxNLocator(nbins=5).tick_values(low, high) if low <= tick <= high]


def tick_text(value: float) -> str:
    """``20000`` as ``20 k``."""
    power = min(max(int(math.log10(value * (1 + 1e-9)) // 3), 0), len(UNITS) - 1)
    return f"{value / 1000**power:.3g} {UNITS[power]}".strip()


def error_axis(axes: Axes, accuracies: Sequence[tuple[float, float]]) -> None:
    """Make the y axis test accuracy in percent.

    :param accuracies: those drawn, each with the length of its bar on either side.
    """
    lowest, highest = min(mean for mean, _ in accuracies), max(mean for mean, _ in accuracies)
    if PERFECT - lowest < WIDE * (PERFECT - highest):
        axes.set_ylabel("test accuracy (%)")
        return
    reach = [mean + sign * bar for mean, bar in accuracies for sign in (-1, 1)]
    axes.set_yscale("function", functions=(_to_error, _from_error))
    low, high = _to_error(max(min(reach), 0.0)), _to_error(min(max(reach), 100.0))
    room = 0.05 * (high - low)
    axes.set_ylim(_from_error(low - room), _from_error(high + room))
    ticks = [tick for tick in ROUND_ACCURACIES if axes.get_ylim()[0] <= tick <= axes.get_ylim()[1]]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylabel("test accuracy (%, log scale of error)")


def _to_error(accuracy: Any) -> Any:
    return -np.log10(np.maximum(PERFECT - np.asarray(accuracy), 1e-3))


def _from_error(place: Any) -> Any:
    return PERFECT - 10.0 ** -np.asarray(place)
