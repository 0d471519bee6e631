"""The axis of costs: a log scale with few round ticks, also where it spans less than a decade."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from autosparse.report.tables import UNITS

ROUND = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))
"""What ticks stand at in each decade, from few to many."""
FEW = 3
"""Ticks that tell a log scale."""


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
    """A few round numbers between two that are above 0; evenly spaced ones where the two are near each other."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    for digits in ROUND:
        found = [tick for power in decades for digit in digits if low <= (tick := digit * 10.0**power) <= high]
        if len(found) >= FEW:
            return found
    return [tick for tick in MaxNLocator(nbins=5).tick_values(low, high) if low <= tick <= high]


def tick_text(value: float) -> str:
    """``20000`` as ``20 k``."""
    power = min(max(int(math.log10(value * (1 + 1e-9)) // 3), 0), len(UNITS) - 1)
    return f"{value / 1000**power:.3g} {UNITS[power]}".strip()
