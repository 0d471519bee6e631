"""Means of methods that were measured with different seeds, as if all had all of them."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np


def adjusted_means(measured: Sequence[Mapping[int, float]]) -> list[float]:
    """Least-squares means of methods: of an additive fit, value = method + seed, with seeds that sum to 0.

    If all methods have the same seeds, these are their plain means. If some lack seeds, as in a grid that is half done,
    an easy seed does not favour the method that has it. If the seeds do not connect the methods, nothing tells easy
    seeds from good methods, and the means are plain.

    :param measured: the values of each method, by seed; at least one each.
    """
    plain = [statistics.fmean(values.values()) for values in measured]
    if all(values.keys() == measured[0].keys() for values in measured):
        return plain
    seeds = {seed: place for place, seed in enumerate(sorted({seed for values in measured for seed in values}))}
    found = [(i, seeds[seed], value) for i, values in enumerate(measured) for seed, value in values.items()]
    design = np.zeros((len(found), len(measured) + len(seeds)))
    for row, (i, place, _) in zip(design, found, strict=True):
        row[[i, len(measured) + place]] = 1
    solution, _, rank, _ = np.linalg.lstsq(design, np.array([value for *_, value in found]))
    if rank < len(measured) + len(seeds) - 1:
        return plain
    of_seeds = solution[len(measured) :].mean()
    return [float(value + of_seeds) for value in solution[: len(measured)]]
