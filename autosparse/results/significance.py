"""Means with confidence intervals, and differences paired by seed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

LEVEL = 0.95
"""The level of confidence intervals; a difference is significant if its p is below 1 - LEVEL."""


def half_width(values: Sequence[float]) -> float | None:
    """Half of the mean's confidence interval by Student's t; None for fewer than two values.

    It is also None if all values are the same, because nothing tells how far that of a further seed may lie.
    """
    return None if len(values) > 1 and _without_spread(values) else _tested(values)[0]


@dataclass(frozen=True)
class Difference:
    """The mean difference between two methods, measured with the same seeds."""

    pairs: int
    """Number of seeds that both have."""
    difference: float
    half_width: float | None
    """Half of the confidence interval's width."""
    p: float | None
    """From the paired t-test, two-sided; None for fewer than two pairs, and if all differences are the same but 0."""
    significant: bool
    """Whether ``p`` is below 1 - LEVEL."""


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Difference | None:
    """``a - b`` by seed; None if they have no seed in common.

    If all differences are the same, nothing tells how far that of a further seed may lie. Two seeds on a few hundred
    test images have the same difference now and then by chance. So there is then no interval, and no p.
    """
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if not differences:
        return None
    half, p = (None, None) if _without_spread(differences) and any(differences) else _tested(differences)
    return Difference(len(differences), statistics.fmean(differences), half, p, p is not None and p < 1 - LEVEL)


def holm_corrected(tested: Sequence[Difference]) -> list[Difference]:
    """The differences with p-values that are corrected for the number of tests, see :func:`holm`."""
    corrected = iter(holm([each.p for each in tested if each.p is not None]))
    found = [each if each.p is None else replace(each, p=next(corrected)) for each in tested]
    return [replace(each, significant=each.p is not None and each.p < 1 - LEVEL) for each in found]


def _tested(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Half of the mean's confidence interval, and the p-value for a mean of 0; None for fewer than two values."""
    if len(values) < 2:
        return None, None
    if _without_spread(values):  # SciPy warns of it
        return 0.0, 0.0 if any(values) else 1.0
    from scipy.stats import ttest_1samp

    found = ttest_1samp(values, 0)
    low, high = found.confidence_interval(LEVEL)
    return float(high - low) / 2, float(found.pvalue)


def _without_spread(values: Sequence[float]) -> bool:
    """Whether all values are the same, within rounding."""
    return max(values) - min(values) <= 1e-9 * max(map(abs, values))


def holm(p: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected for their number (Holm 1979, Scand. J. Statist. 6, 65-70)."""
    corrected, so_far = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = so_far
    return corrected
