"""Means with confidence intervals, and differences paired by seed."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LEVEL = 0.95
"""Of confidence intervals; what is significant has p below 1 - LEVEL."""


def half_width(values: Sequence[float]) -> float | None:
    """Half of the mean's confidence interval by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values)))


@dataclass(frozen=True)
class Difference:
    """The mean of differences between two things that were measured with the same seeds."""

    pairs: int
    """Number of seeds that both have."""
    difference: float
    half_width: float | None
    """Of its confidence interval."""
    p: float | None
    """Of the paired t-test, two-sided; None for fewer than two pairs."""
    significant: bool

    @property
    def row(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Difference | None:
    """``a - b`` by seed; None where they have no seed in common."""
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if not differences:
        return None
    mean, half = statistics.fmean(differences), half_width(differences)
    p = None if half is None else _p_value(differences)
    return Difference(len(differences), mean, half, p, p is not None and p < 1 - LEVEL)


def _p_value(differences: Sequence[float]) -> float:
    spread, mean = statistics.stdev(differences), statistics.fmean(differences)
    if spread == 0:  # the t-test divides by it
        return 1.0 if mean == 0 else 0.0
    from scipy.stats import t

    statistic = mean / (spread / math.sqrt(len(differences)))
    return float(2 * t.sf(abs(statistic), len(differences) - 1))
