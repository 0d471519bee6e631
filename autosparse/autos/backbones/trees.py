"""Gradient-boosted trees: scikit-learn grows them, plain arrays hold them, and PyTorch walks them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autosparse.autos.backbones import Backbone, backbone

TREES, LEAVES, DEPTH = 150, 31, 8
"""Number of trees, and the most leaves and levels of one."""
RATE = 0.1
"""Learning rate: the share of the remaining error that each tree corrects."""
ROWS_PER_LEAF = 200
"""The fewest rows in a leaf."""
NODES = 2 * LEAVES - 1


@backbone("trees")
class Trees(Backbone):
    """Histogram-based gradient boosting with squared error (Friedman 2001), as scikit-learn grows it.

    Trees do not extrapolate: beyond the rows that they grew on, a prediction stays what it is at the edge. They take
    features of any scale, and many of them. The prediction is that of ``HistGradientBoostingRegressor``, to float32.
    """

    chunk = 1 << 14
    by_gradient = False
    feature: Tensor
    """(TREES, NODES) int64: the feature that a node compares."""
    threshold: Tensor
    """(TREES, NODES) float32: rows with at most this value go to the first child, others to the second."""
    below: Tensor
    """(TREES, NODES, 2) int64; a leaf is its own children."""
    value: Tensor
    """(TREES, NODES) float64: what a leaf adds."""
    baseline: Tensor
    """() float64: the prediction without any tree."""

    def __init__(self, inputs: int, seed: int):
        super().__init__()
        self.register_buffer("feature", torch.zeros(TREES, NODES, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(TREES, NODES))
        self.register_buffer("below", torch.arange(NODES)[None, :, None].repeat(TREES, 1, 2))
        self.register_buffer("value", torch.zeros(TREES, NODES, dtype=torch.float64))
        self.register_buffer("baseline", torch.zeros((), dtype=torch.float64))

    def solve(self, features: Tensor, target: Tensor, seed: int) -> None:
        """Grow the trees on ``features`` (rows, inputs) and ``target`` (rows,), on the CPU and one thread."""
        from sklearn.ensemble import HistGradientBoostingRegressor  # here: scikit-learn takes seconds to import
        from threadpoolctl import threadpool_limits

        grower = HistGradientBoostingRegressor(
            max_iter=TREES, learning_rate=RATE, max_leaf_nodes=LEAVES, max_depth=DEPTH, early_stopping=False,
            min_samples_leaf=ROWS_PER_LEAF, random_state=seed,
        )  # fmt: skip
        with threadpool_limits(1):  # the same sums whatever the number of threads
            grower.fit(features.cpu().numpy(), target.cpu().numpy())
        self.take(grower)

    def take(self, grower: Any) -> None:
        """Copy a fitted ``HistGradientBoostingRegressor`` of at most TREES trees with at most LEAVES leaves each."""
        fresh = Trees(0, 0).state_dict()
        fresh["baseline"].fill_(float(grower._baseline_prediction.item()))
        for i, (predictor,) in enumerate(grower._predictors):
            nodes = predictor.nodes
            count, inner = len(nodes), nodes["is_leaf"] == 0
            fresh["feature"][i, :count] = torch.from_numpy(np.where(inner, nodes["feature_idx"], 0).astype(np.int64))
            fresh["threshold"][i, :count] = torch.from_numpy(_at_most(np.where(inner, nodes["num_threshold"], 0.0)))
            both = np.stack([nodes["left"], nodes["right"]], 1).astype(np.int64)
            itself = np.arange(count)[:, None]
            fresh["below"][i, :count] = torch.from_numpy(np.where(inner[:, None], both, itself))
            fresh["value"][i, :count] = torch.from_numpy(np.where(inner, 0.0, nodes["value"]))
        self.load_state_dict(fresh)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs) -> (rows,). A row's score is the same to the bit whatever rows surround it."""
        total = self.baseline.expand(len(x)).clone()
        columns = x.T.contiguous()
        rows = torch.arange(len(x), device=x.device)
        for feature, threshold, below, value in zip(self.feature, self.threshold, self.below, self.value, strict=True):
            at = torch.zeros(len(x), dtype=torch.int64, device=x.device)
            for _ in range(DEPTH):
                beyond = columns[feature[at], rows] > threshold[at]
                at = below.view(-1)[2 * at + beyond]
            total += value[at]
        return total.float()


def _at_most(thresholds: np.ndarray) -> np.ndarray:
    """The greatest float32 not above each float64: no float32 lies between the two."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
