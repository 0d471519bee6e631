"""Mean and scatter of rows that are seen piece by piece: all that standardisation and least squares need."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from autosparse.autos.features import Standardisation


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of rows of d inputs and their target, which comes last; all in float64.

    The scatter is about the mean, so that no digits are lost if a column hardly varies (Chan, Golub and LeVeque
    1983).
    """

    count: int
    mean: np.ndarray
    """(d + 1,)"""
    scatter: np.ndarray
    """(d + 1, d + 1): the sum of (v - mean)(v - mean)^T."""
    low: np.ndarray
    """(d + 1,), with :attr:`high`: the extremes, which say whether a column is constant."""
    high: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Compute them from ``values`` (rows, d + 1)."""
        width = values.shape[1]
        if not len(values):
            edge = np.full(width, np.inf)
            return cls(0, np.zeros(width), np.zeros((width, width)), edge, -edge)
        values = values.astype(np.float64)
        mean = values.mean(0)
        centred = values - mean
        return cls(len(values), mean, centred.T @ centred, values.min(0), values.max(0))

    def plus(self, other: "Moments") -> "Moments":
        """Combine them with those of other rows."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.scatter + other.scatter + np.outer(apart, apart) * (self.count * other.count / count),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @cached_property
    def standardisation(self) -> Standardisation:
        """Mean and deviation of the inputs; a constant column gets a deviation of 1."""
        mean = np.where(self.constant, self.low, self.mean)
        std = np.where(self.constant, 1.0, (self.scatter.diagonal() / self.count) ** 0.5)
        return Standardisation(tuple(mean[:-1].tolist()), tuple(std[:-1].tolist()))

    @property
    def constant(self) -> np.ndarray:
        """(d + 1,) bool: columns of one value. Their scatter is the noise of sums, and counts as 0."""
        return np.asarray(self.low == self.high)

    @property
    def packed(self) -> dict[str, np.ndarray]:
        """The fields as arrays of one row each."""
        count = np.array([self.count], np.int64)
        return {"count": count, **{name: getattr(self, name)[None] for name in ("mean", "scatter", "low", "high")}}


def total(parts: Iterable[Mapping[str, Tensor]]) -> Moments:
    """The sum of :attr:`Moments.packed` of one or more pieces, in their order."""
    found = None
    for part in parts:
        for i, count in enumerate(part["count"].tolist()):
            arrays = {name: part[name][i].to(torch.float64).numpy() for name in ("mean", "scatter", "low", "high")}
            piece = Moments(count, **arrays)
            found = piece if found is None else found.plus(piece)
    assert found is not None
    return found
