"""Means of methods that were measured with different seeds, as if all had all of them."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse.csgraph import connected_components


def adjusted_means(measured: Sequence[Mapping[int, float]]) -> list[float]:
    """Least-squares means of methods: of an additive fit, value = method + seed, with seeds that sum to 0.

    If all methods have the same seeds, these are their plain means. If some lack seeds, as in a grid that is half done,
    an easy seed does not favour the method that has it. Nothing tells easy seeds from good methods between methods that
    no seed connects, not even by way of other methods. Each such part of the methods has a fit of its own.

    :param measured: the values of each method, by seed; at least one each.
    """
    seeds = sorted({seed for values in measured for seed in values})
    has = np.array([[seed in values for seed in seeds] for values in measured])
    _, parts = connected_components(has @ has.T)
    means = np.zeros(len(measured))
    for part in np.unique(parts):
        means[parts == part] = _fitted([values for values, own in zip(measured, parts, strict=True) if own == part])
    return means.tolist()


def _fitted(measured: Sequence[Mapping[int, float]]) -> Sequence[float] | np.ndarray:
    """The adjusted means of methods that their seeds connect."""
    if all(values.keys() == measured[0].keys() for values in measured):
        return [statistics.fmean(values.values()) for values in measured]
    seeds = {seed: place for place, seed in enumerate(sorted({seed for values in measured for seed in values}))}
    found = [(i, seeds[seed], value) for i, values in enumerate(measured) for seed, value in values.items()]
    design = np.zeros((len(found), len(measured) + len(seeds)))
    for row, (i, place, _) in zip(design, found, strict=True):
        row[[i, len(measured) + place]] = 1
    solution, *_ = np.linalg.lstsq(design, np.array([value for *_, value in found]))
    return solution[: len(measured)] + solution[len(measured) :].mean()
