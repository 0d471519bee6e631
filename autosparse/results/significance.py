"""Means with confidence intervals, and differences paired by seed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LEVEL = 0.95
"""The level of confidence intervals; a difference is significant if its p is below 1 - LEVEL."""


def half_width(values: Sequence[float]) -> float | None:
    """Half of the mean's confidence interval by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    if statistics.stdev(values) == 0:  # SciPy warns if all values are equal
        return 0.0
    from scipy.stats import ttest_1samp

    low, high = ttest_1samp(values, 0).confidence_interval(LEVEL)
    return float(high - low) / 2


@dataclass(frozen=True)
class Difference:
    """The mean difference between two methods, measured with the same seeds."""

    pairs: int
    """Number of seeds that both have."""
    difference: float
    half_width: float | None
    """Half of the confidence interval's width."""
    p: float | None
    """From the paired t-test, two-sided; None for fewer than two pairs."""
    significant: bool

    @property
    def row(self) -> dict[str, Any]:
        """The difference as JSON values."""
        return asdict(self)


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Difference | None:
    """``a - b`` by seed; None if they have no seed in common."""
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if not differences:
        return None
    mean, half = statistics.fmean(differences), half_width(differences)
    p = None if half is None else _p_value(differences)
    return Difference(len(differences), mean, half, p, p is not None and p < 1 - LEVEL)


def _p_value(differences: Sequence[float]) -> float:
    if statistics.stdev(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected for their number (Holm 1979, Scand. J. Statist. 6, 65-70)."""
    corrected, so_far = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = so_far
    return corrected
