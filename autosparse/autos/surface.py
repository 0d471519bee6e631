"""The scorer as a surface: a costly network evaluated at a few thousand nodes, every weight looked up between them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from autosparse.autos.lattice import around_centres, between, corners, divided, every, gathered, touching
from autosparse.autos.table import Table, node_below, spread

Evaluate = Callable[[list[Tensor]], Tensor]
"""Columns of shape (rows,), one per input -> exact scores (rows,)."""

GRIDS = {1: (32, 8), 2: (16, 5), 3: (8, 3), 4: (4, 2)}
"""By number of inputs: cells per axis of the coarsest grid, and how often they can be halved."""
BATCH = 512
"""Evaluations before the surface decides anew where the next are needed; at least a quarter of all so far."""


class Surface:
    """Scores on a grid over the weights' own features, exact where it matters, interpolated elsewhere.

    The coarsest grid is evaluated everywhere. Then the cells that are expected to put most weights on the wrong side
    of a threshold are halved, wherever and however small they are, and the network is evaluated at their new nodes;
    all others are interpolated with cubic polynomials. How far interpolation errs is learned from the new nodes, by
    comparing what was interpolated there with what the network says.
    """

    def __init__(self, evaluate: Evaluate, columns: Sequence[Tensor], keep: Sequence[int]):
        """Evaluate the coarsest grid.

        :param columns: features of all weights, (n,) per input, one to four of them.
        :param keep: numbers of weights that will be kept: the thresholds around which the surface must be right.
        """
        axes, total, device = len(columns), len(columns[0]), columns[0].device
        self.evaluate, self.keep = evaluate, keep
        self.cells, self.levels = GRIDS[axes]
        self.finest = self.cells << self.levels
        columns = [column.float().contiguous() for column in columns]
        tail = min(keep) / total / 20
        self.nodes = [spread(column, self.finest + 1, tail) for column in columns]
        """Per input, ascending."""
        self.mass = _mass(columns, self.nodes)
        """Number of weights in each of the finest cells."""
        self.known = torch.full([self.finest + 1] * axes, torch.nan, device=device)
        """Exact scores at the finest nodes, NaN where the network was not asked."""
        self.missed = torch.full_like(self.known, torch.nan)
        """Squared error of interpolation at these nodes before the network was asked."""
        self.halved = [self._cells(level, False, torch.bool) for level in range(self.levels)]
        """The cells of each level, the coarsest first, whose halves have known scores at all corners."""
        self.evaluations = 0
        """How often the network was asked."""
        self.values = torch.zeros_like(self.known)
        """Exact and interpolated scores at the finest nodes, float32."""
        coarsest = torch.zeros_like(self.known, dtype=torch.bool)
        coarsest[self._nodes(0)] = True
        self._ask(coarsest)
        self.missed.fill_(torch.nan)

    def __call__(self, columns: Sequence[Tensor]) -> Tensor:
        """Scores of weights: one column of shape (n,) per input -> (n,) float32."""
        return self.table(columns)

    @property
    def table(self) -> Table:
        """The surface to look scores up in, without what refining it takes."""
        return Table(self.values, self.nodes)

    def refine(self, evaluations: int, tolerance: float = 1e-3) -> None:
        """Ask the network further, up to ``evaluations`` times in all.

        :param tolerance: stop if less than this share of the kept weights is expected to be misjudged, in the mean over
            the thresholds.
        """
        new_nodes = 3 ** len(self.nodes) - 2 ** len(self.nodes)
        while (left := evaluations - self.evaluations) >= new_nodes:
            expected, depth = self._expected()
            if float(expected.sum()) <= tolerance * len(self.keep):
                return
            self._halve_worst(expected, depth, min(left, max(BATCH, self.evaluations // 4)) // new_nodes)

    def _nodes(self, level: int) -> tuple[slice, ...]:
        """Index of a level's nodes among the finest."""
        return every(self.finest // (self.cells << level), len(self.nodes))

    def _cells(self, level: int, value: float, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.full([self.cells << level] * len(self.nodes), value, dtype=dtype, device=self.mass.device)

    def _ask(self, where: Tensor) -> None:
        """Evaluate the network at the finest nodes that are True."""
        places = tuple(where.nonzero().T)
        found = self.evaluate([axis[index] for axis, index in zip(self.nodes, places, strict=True)]).float()
        self.missed[places] = (found - self.values[places]) ** 2
        self.known[places] = found
        self.evaluations += len(found)
        values = self.known[self._nodes(0)]
        for level in range(1, self.levels + 1):
            exact = self.known[self._nodes(level)]
            values = torch.where(exact.isnan(), between(values), exact)
        self.values = values

    def _error(self) -> tuple[Tensor, Tensor]:
        """Expected squared error of interpolation in each of the finest cells, and how often its cell was halved.

        An error at new nodes counts for the cells around them, blended with the prediction from coarser levels. A half
        is assumed to err half as much as its cell. Errors seen in cells halved again correct this assumption.
        """
        variance = result = self._cells(0, torch.inf)
        depth = self._cells(0, 0, torch.int8)
        for level, halved in enumerate(self.halved):
            missed = self.missed[self._nodes(level + 1)].clone()
            missed[every(2, missed.dim())] = torch.nan
            count = around_centres((~missed.isnan()).float()) / 4 ** len(self.nodes)
            square = around_centres(missed.nan_to_num()) / 4 ** len(self.nodes)
            if level and int(halved.sum()) >= 20:
                true, predicted = (square / count)[halved].sqrt().mean(), variance[halved].sqrt().mean()
                variance = variance * (true / predicted.clamp(min=1e-12)).clamp(0.25, 2) ** 2
                result = torch.where(depth == level, variance, result)
            prior = variance.isfinite().float()
            variance = divided((square + prior * variance.nan_to_num(posinf=0)) / (count + prior) / 4)
            inside = divided(halved)
            result = torch.where(inside, variance, divided(result))
            depth = divided(depth) + inside
        return result, depth

    def _expected(self) -> tuple[Tensor, Tensor]:
        """The share of the kept weights that each of the finest cells is expected to misjudge, summed over
        thresholds; and its level."""
        filled = self.mass > 0
        variance, depth = self._error()
        centres = (sum(corners(self.values)) / 2 ** len(self.nodes))[filled]
        variance, freedom, mass = variance[filled], depth[filled].clamp(1, 3).float(), self.mass[filled]
        total = torch.zeros_like(mass)
        for threshold, kept in _thresholds(centres, mass, self.keep):
            # tails as of Student's distribution: the less is known of a cell, the less it is trusted
            off = (centres - threshold) ** 2 / variance.clamp(min=1e-24)
            total += mass / kept * 0.5 * (1 + off / freedom) ** (-freedom / 2)
        expected = torch.zeros_like(self.mass)
        expected[filled] = total
        return expected, depth

    def _halve_worst(self, expected: Tensor, depth: Tensor, count: int) -> None:
        """Halve the ``count`` cells, of any level, that are expected to misjudge most."""
        by_level: list[Tensor] = []
        for level in reversed(range(self.levels)):
            expected = gathered(expected)
            at_level = depth[every(self.finest // (self.cells << level), depth.dim())] == level
            by_level.insert(0, expected * at_level)
        flat = torch.cat([cells.flatten() for cells in by_level])
        worst = flat.topk(min(count, len(flat)))
        chosen = torch.zeros_like(flat, dtype=torch.bool)
        chosen[worst.indices] = worst.values > 0
        where = torch.zeros_like(self.known, dtype=torch.bool)
        for level, cells in enumerate(chosen.split([cells.numel() for cells in by_level])):
            cells = cells.view_as(by_level[level])
            self.halved[level] |= cells
            where[self._nodes(level + 1)] |= touching(divided(cells))
        self._ask(where & self.known.isnan())


def _thresholds(scores: Tensor, mass: Tensor, keep: Sequence[int]) -> list[tuple[float, int]]:
    """Pair each number to keep with the score above which that many weights lie.

    ``mass`` counts the weights at each score.
    """
    scores, order = scores.sort(descending=True)
    above = mass[order].double().cumsum(0)
    return [(float(scores[int((above < kept).sum().clamp(max=len(scores) - 1))]), kept) for kept in keep]


def _mass(columns: Sequence[Tensor], nodes: Sequence[Tensor]) -> Tensor:
    sides = [len(axis) - 1 for axis in nodes]
    index = torch.zeros(len(columns[0]), dtype=torch.int64, device=columns[0].device)
    for column, axis, side in zip(columns, nodes, sides, strict=True):
        index.mul_(side).add_(node_below(column, axis))
    return index.bincount(minlength=torch.Size(sides).numel()).view(sides).float()
