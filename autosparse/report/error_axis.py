"""The axis of accuracies: a log scale of the error if a linear axis would press most methods together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

ROUND_ACCURACIES = (0, 20, 40, 60, 80, 90, 95, 97, 98, 99, 99.5, 100)
PERFECT = 100.5
"""A little more than 100 %, because an error of 0 has no logarithm."""
WIDE = 6
"""Ratio of the highest to the lowest error from which the scale is logarithmic."""


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
