"""A weighted sum of the features: as few numbers as a scorer can have, and a formula by itself."""

import numpy as np
import torch
from torch import Tensor

from autosparse.autos.backbones import Backbone, backbone
from autosparse.autos.streamed.rows import RowStream

RIDGE = 1e-6
"""Penalty per row on the coefficients of standardised features: it matters only if features repeat each other."""


@backbone("linear")
class Linear(Backbone):
    """Least squares. The features bring the curvature: most of them are logarithms.

    It extrapolates linearly to networks and densities that it has not seen. Option ``clip`` of ``autos`` limits that.
    """

    chunk = 1 << 21
    by_gradient = False
    coefficients: Tensor
    """(inputs,) float64, of standardised features."""
    intercept: Tensor
    """() float64."""

    def __init__(self, inputs: int, seed: int):
        super().__init__()
        self.register_buffer("coefficients", torch.zeros(inputs, dtype=torch.float64))
        self.register_buffer("intercept", torch.zeros((), dtype=torch.float64))

    def solve(self, features: Tensor, target: Tensor, seed: int) -> None:
        """Solve the normal equations of ``features`` (rows, inputs) and ``target`` (rows,), in float64."""
        mean, centre = features.double().mean(0), target.double().mean()
        x, y = features.double() - mean, target.double() - centre
        gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        self.coefficients.copy_(torch.linalg.solve(gram, x.T @ y))
        self.intercept.copy_(centre - mean @ self.coefficients)

    def solve_streamed(self, rows: RowStream) -> int:
        """Solve the normal equations of all train rows. Their moments are enough: no further pass is needed."""
        moments = rows.moments
        std = np.array([*moments.standardisation.std, 1.0])
        varies = ~moments.constant
        gram = np.where(np.outer(varies, varies), moments.scatter / np.outer(std, std), 0.0)
        gram[:-1, :-1] += RIDGE * moments.count * np.eye(len(std) - 1)
        self.coefficients.copy_(torch.from_numpy(np.linalg.solve(gram[:-1, :-1], gram[:-1, -1])))
        self.intercept.fill_(moments.mean[-1])
        return moments.count

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs) -> (rows,) float32. A row's score is the same to the bit whatever rows surround it."""
        total = self.intercept.expand(len(x)).clone()
        for column, coefficient in zip(x.unbind(1), self.coefficients, strict=True):
            total += column.double() * coefficient
        return total.float()
