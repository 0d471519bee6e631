"""E[survival | theta_0, g_0] without a network: what every fit by squared error approximates, in seconds."""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from autosparse.autos.backbones import Backbone, backbone
from autosparse.autos.lattice import cell_of
from autosparse.autos.table import Table

NODES = 129
"""Nodes of the table along each input."""
REACH = 4.0
"""The outermost nodes' normal score."""
KNOTS = 9
"""How many splines lie along each input: one per unit of normal score."""
RIDGE = 1.0
"""Penalty on the splines' coefficients, in rows: it matters only if there are few."""

SCORES = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
"""The nodes' normal scores: evenly spaced, so that nodes resolve both tails."""


@backbone("conditional-mean")
class ConditionalMean(Backbone):
    """A smooth estimate of E[survival | features] as a table with interpolation; fitted in one step, without gradients.

    Along each input the table has nodes at quantiles that lie evenly in normal scores, so that tails, where the
    weights that stay at high sparsity come from, are resolved too. The rows nearest to each node are averaged; a ridge
    regression of these means on a tensor product of cubic splines in normal scores smooths them. Between nodes the
    prediction is (bi)linear in the features, beyond the outermost it keeps their value.

    Smooth, because rows of one network are not independent: many weights share one exact gradient, and a regression
    that can single it out (boosted trees) explains more of held-out rows and less of other networks.
    """

    chunk = 1 << 21
    by_gradient = False
    most_inputs = 2
    nodes: Tensor
    """(inputs, NODES) float32, ascending; if an input has fewer distinct quantiles, the last is repeated."""
    table: Tensor
    """One axis of NODES per input, float32: the estimate at the nodes."""

    def __init__(self, inputs: int, seed: int):
        super().__init__()
        self.register_buffer("nodes", torch.zeros(inputs, NODES))
        self.register_buffer("table", torch.zeros((NODES,) * inputs))

    def solve(self, features: Tensor, target: Tensor, seed: int) -> None:
        """Tabulate the smoothed mean of ``target`` (rows,) over ``features`` (rows, inputs), on the CPU."""
        columns = [column.contiguous() for column in features.cpu().unbind(1)]
        nodes, scores = zip(*map(_quantile_nodes, columns), strict=True)
        table = _smooth(scores, *_means(columns, nodes, target.cpu()))
        repeated = [torch.arange(NODES).clamp(max=len(axis) - 1) for axis in nodes]
        self.nodes.copy_(torch.stack([axis[index] for axis, index in zip(nodes, repeated, strict=True)]))
        self.table.copy_(torch.from_numpy(table)[torch.meshgrid(*repeated, indexing="ij")])

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs) -> (rows,)."""
        return self.prepared()(x)

    def prepared(self) -> Callable[[Tensor], Tensor]:
        """A look-up in the table that prepares its search only once."""
        table = Table(self.table, list(self.nodes))
        return lambda x: table(x.unbind(1))


def _quantile_nodes(column: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct quantiles of a column at SCORES, ascending, and the mean normal score of each.

    The first and the last are the column's extremes.
    """
    share = torch.special.ndtr(SCORES)
    places = ((share - share[0]) / (share[-1] - share[0]) * (len(column) - 1)).round().long()
    nodes, which = column.sort().values[places].unique_consecutive(return_inverse=True)
    return nodes, torch.zeros(len(nodes), dtype=torch.float64).index_add_(0, which, SCORES) / which.bincount()


def _means(columns: Sequence[Tensor], nodes: Sequence[Tensor], target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the target over the rows nearest to each node, and their number; float64, flat, the last input fastest.

    The mean is 0 if there are no rows.
    """
    index, size = cell_of(columns, [(axis[1:] + axis[:-1]) / 2 for axis in nodes]), math.prod(map(len, nodes))
    count = index.bincount(minlength=size).double()
    total = index.bincount(target.double(), minlength=size)
    return (total / count.clamp(min=1)).numpy(), count.numpy()


def _smooth(scores: Sequence[Tensor], means: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ridge regression of the means, weighted by counts, on tensor-product splines; float64, an axis per input."""
    from sklearn.linear_model import Ridge  # here: scikit-learn takes seconds to import
    from sklearn.preprocessing import SplineTransformer
    from threadpoolctl import threadpool_limits

    knots = np.linspace(-REACH, REACH, KNOTS)[:, None]
    splines = SplineTransformer(KNOTS, degree=3, knots=knots).fit(knots)
    basis = functools.reduce(np.kron, [splines.transform(axis.numpy()[:, None]) for axis in scores])
    seen = counts > 0
    with threadpool_limits(1):  # the same sums whatever the number of threads
        ridge = Ridge(RIDGE).fit(basis[seen], means[seen], sample_weight=counts[seen])
        table: np.ndarray = ridge.predict(basis)
    return table.reshape([len(axis) for axis in scores])
