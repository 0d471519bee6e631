"""Functions of a few features as tables on grids, looked up by (multi)linear interpolation."""

from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK = 1 << 16
"""Rows looked up at once on the CPU, so that what is between stays in its cache."""
MANY = 1 << 18
"""From so many rows on, a search for nodes by address pays."""
DROPPED = 14
"""Bits of a float32 that its address leaves out: 2 ** 18 addresses, 512 between a number and its double."""


def normal_scores(count: int, reach: float) -> Tensor:
    """``count`` numbers evenly spaced in [-reach, reach], float64: nodes at these normal scores resolve both tails."""
    return torch.linspace(-reach, reach, count, dtype=torch.float64)


def quantiles(column: Tensor, scores: Tensor) -> Tensor:
    """The column's quantiles at normal ``scores``, ascending; the first and last are its extremes."""
    share = torch.special.ndtr(scores)
    share = (share - share[0]) / (share[-1] - share[0])
    return column.sort().values[(share * (len(column) - 1)).round().long().to(column.device)]


def look_up(table: Tensor, nodes: Sequence[Tensor], columns: Sequence[Tensor]) -> Tensor:
    """Interpolate linearly between the nodes, hold the outermost values beyond them.

    :param table: values at the nodes, one axis per column.
    :param nodes: ascending coordinates along each axis, at least 2; equal ones are allowed.
    :param columns: of shape (rows,), float32, contiguous.
    :return: (rows,), in the table's dtype.
    """
    rows, flat = len(columns[0]), table.flatten()
    axes = [Axis(own, rows) for own in nodes]

    def interpolate(places: list[tuple[Tensor, Tensor]], index: Tensor | None, axis: int) -> Tensor:
        """The table's values, those of the axes before ``axis`` taken at the node that ``index`` names."""
        if axis == len(places):
            return flat.index_select(0, index)
        below, share = places[axis]
        index = below if index is None else index * len(nodes[axis]) + below
        return interpolate(places, index, axis + 1).lerp_(interpolate(places, index + 1, axis + 1), share)

    result = torch.empty(rows, dtype=table.dtype, device=table.device)
    for chunk in _chunks(rows, table.device):
        places = [axis.place(column[chunk]) for axis, column in zip(axes, columns, strict=True)]
        result[chunk] = interpolate(places, None, 0)
    return result


class Axis:
    """Finds the node below a value: at once by the leading bits of the value where there are many, else by bisection.

    The floats that share their leading bits are neighbours. Which node is below the least of them is tabulated; few
    nodes lie among them, and the value is compared with each.
    """

    def __init__(self, nodes: Tensor, rows: int):
        self.nodes, self.steps = nodes, 0
        self.first: Tensor | None = None
        self.scale = 1 / (nodes[1:] - nodes[:-1]).clamp(min=torch.finfo(nodes.dtype).tiny)
        self.next = torch.cat([nodes[1:-1], nodes.new_tensor([torch.nan])])
        if rows >= MANY and nodes.device.type == "cpu" and nodes.dtype == torch.float32:
            least = _float_of(torch.arange(-(1 << 31), 1 << 31, 1 << DROPPED))
            first = self._bisect(least).int()
            self.steps = int(first.diff().max())
            self.first = first if self.steps <= 3 else None  # more: equal nodes, or very near ones

    def below(self, column: Tensor) -> Tensor:
        """Index of the last node that is not above each value, from the first node to the last but one."""
        if self.first is None:
            return self._bisect(column)
        index = self.first.index_select(0, _address(column))
        for _ in range(self.steps):
            index += column >= self.next.index_select(0, index)
        return index

    def place(self, column: Tensor) -> tuple[Tensor, Tensor]:
        """The node below each value, and the way to the next one, from 0 to 1."""
        below = self.below(column)
        way = (column - self.nodes.index_select(0, below)).mul_(self.scale.index_select(0, below))
        return below, way.clamp_(0, 1)

    def _bisect(self, column: Tensor) -> Tensor:
        return (torch.bucketize(column, self.nodes, right=True) - 1).clamp_(0, len(self.nodes) - 2)


def node_below(column: Tensor, nodes: Tensor) -> Tensor:
    """Index of the last node that is not above each value, from the first node to the last but one; int64."""
    axis, result = Axis(nodes, len(column)), torch.empty(len(column), dtype=torch.int64, device=column.device)
    for chunk in _chunks(len(column), column.device):
        result[chunk] = axis.below(column[chunk])
    return result


def _chunks(rows: int, device: torch.device) -> list[slice]:
    size = CHUNK if device.type == "cpu" else max(1, rows)
    return [slice(start, start + size) for start in range(0, rows, size)]


def _address(column: Tensor) -> Tensor:
    """The leading bits of float32 values as int32 from 0, in the order of the values."""
    bits = column.view(torch.int32)
    order = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)
    return order.bitwise_right_shift_(DROPPED).add_(1 << (31 - DROPPED))


def _float_of(order: Tensor) -> Tensor:
    """The float32 values whose rank among all, from -2 ** 31, is ``order``; what is none is an infinity."""
    bits = order.int()
    values = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)
    return torch.where(values.isnan(), torch.inf * order.sign(), values)
