"""Functions of a few features as tables on grids, looked up by (multi)linear interpolation."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

CHUNK = 1 << 15
"""Rows looked up at once on the CPU: few enough for its cache, and for torch to use one thread."""
MANY = 1 << 18
"""The number of rows from which a search by address pays off."""
SAMPLE = 1 << 20
"""At most this many values decide where nodes lie."""
DROPPED = 14
"""Bits of a float32 that its address leaves out: 2 ** 18 addresses, 512 between a number and twice that number."""


def spread(column: Tensor, count: int, tail: float) -> Tensor:
    """``count`` nodes along a column, ascending, from its least to its greatest value.

    Half of the placement is even in value between the quantiles ``tail`` and ``1 - tail``, where functions bend. The
    other half is even in normal scores, so that the tails get nodes, too.
    """
    sample = column[:: -(-len(column) // SAMPLE)].sort().values
    low, high = sample[int(tail * len(sample))], sample[-1 - int(tail * len(sample))]
    ranks = torch.arange(len(sample), dtype=torch.float64, device=column.device)
    score = torch.special.ndtri((ranks + 0.5) / len(sample))
    way = (sample.clamp(low, high) - low).double() / (high - low).double().clamp(min=torch.finfo(torch.float32).tiny)
    place = score / score[-1].clamp(min=torch.finfo(torch.float32).tiny) + 2 * way - 1
    wanted = torch.linspace(float(place[0]), float(place[-1]), count, dtype=torch.float64, device=column.device)
    above = torch.searchsorted(place, wanted).clamp_(1, len(sample) - 1)
    start, end = sample[above - 1].double(), sample[above].double()
    share = (wanted - place[above - 1]) / (place[above] - place[above - 1])
    # nodes may lie between values
    nodes = (start + share.clamp_(0, 1) * (end - start)).to(column.dtype).cummax(0).values
    nodes[0], nodes[-1] = column.aminmax()
    return nodes


@dataclass(frozen=True)
class Table:
    """A function of features, as its values at nodes."""

    values: Tensor
    """One axis per feature."""
    nodes: list[Tensor]
    """Per feature, ascending, at least 2; equal ones are allowed."""

    @cached_property
    def axes(self) -> list["Axis"]:
        """The nodes, ready to be searched."""
        return [Axis(places) for places in self.nodes]

    def __call__(self, columns: Sequence[Tensor]) -> Tensor:
        """Interpolate linearly between the nodes, hold the outermost values beyond them.

        :param columns: one of shape (rows,) per feature, float32.
        :return: (rows,), in the dtype of the values.
        """
        columns, rows = [column.contiguous() for column in columns], len(columns[0])
        flat = self.values.flatten()
        for axis in self.axes:
            axis.expect(rows)

        def interpolate(places: list[tuple[Tensor, Tensor]], index: Tensor, axis: int) -> Tensor:
            """The values, those of the axes before ``axis`` taken at the node that ``index`` names."""
            if axis == len(places):
                return flat.index_select(0, index)
            below, share = places[axis]
            index = index * len(self.nodes[axis]) + below
            return interpolate(places, index, axis + 1).lerp_(interpolate(places, index + 1, axis + 1), share)

        result = torch.empty(rows, dtype=flat.dtype, device=flat.device)

        def fill(chunk: slice) -> None:
            places = [axis.place(column[chunk]) for axis, column in zip(self.axes, columns, strict=True)]
            result[chunk] = interpolate(places, torch.zeros_like(places[0][0]), 0)

        _by_chunks(fill, rows, flat.device)
        return result


class Axis:
    """Finds the node below a value: by the leading bits of the value if there are many values, else by bisection.

    The floats that share their leading bits are neighbours. A table gives the node below the least of them; few nodes
    lie among them, and the value is compared with each.
    """

    def __init__(self, nodes: Tensor):
        self.nodes, self.steps, self.rows = nodes, 0, 0
        self.first: Tensor | None = None
        self.scale = 1 / (nodes[1:] - nodes[:-1]).clamp(min=torch.finfo(nodes.dtype).tiny)

    def expect(self, rows: int) -> None:
        """Prepare for ``rows`` more searches."""
        before, self.rows = self.rows, self.rows + rows
        nodes = self.nodes
        if before < MANY <= self.rows and nodes.device.type == "cpu" and nodes.dtype == torch.float32:
            distinct, copies = nodes.unique_consecutive(return_counts=True)
            self.next = torch.cat([distinct, distinct.new_tensor([torch.nan])])
            self.last = torch.cat([copies.new_zeros(1), copies.cumsum(0) - 1]).clamp_(max=len(nodes) - 2).int()
            least = _float_of(torch.arange(-(1 << 31), 1 << 31, 1 << DROPPED))
            first = torch.bucketize(least, distinct, right=True, out_int32=True)
            self.steps = int(first.diff().max())
            self.first = first if self.steps <= 4 else None  # more: nodes that are almost equal

    def below(self, column: Tensor) -> Tensor:
        """Index of the last node that is not above each value, from the first node to the last but one."""
        if self.first is None:
            return (torch.bucketize(column, self.nodes, right=True) - 1).clamp_(0, len(self.nodes) - 2)
        index = self.first.index_select(0, _address(column))
        for _ in range(self.steps):
            index += column >= self.next.index_select(0, index)
        return self.last.index_select(0, index)

    def place(self, column: Tensor) -> tuple[Tensor, Tensor]:
        """The node below each value, and the way to the next one, from 0 to 1."""
        below = self.below(column)
        way = (column - self.nodes.index_select(0, below)).mul_(self.scale.index_select(0, below))
        return below, way.clamp_(0, 1)


def node_below(column: Tensor, nodes: Tensor) -> Tensor:
    """Index of the last node that is not above each value, from the first node to the last but one; int64."""
    axis, result = Axis(nodes), torch.empty(len(column), dtype=torch.int64, device=column.device)
    axis.expect(len(column))

    def fill(chunk: slice) -> None:
        result[chunk] = axis.below(column[chunk])

    _by_chunks(fill, len(column), column.device)
    return result


def _by_chunks(work: Callable[[slice], None], rows: int, device: torch.device) -> None:
    """Do the work on all rows: on the CPU in chunks, by as many threads as torch would use within each operation."""
    size = CHUNK if device.type == "cpu" else max(1, rows)
    chunks = [slice(start, start + size) for start in range(0, rows, size)]
    if len(chunks) == 1:
        work(chunks[0])
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(work, chunks))


def _address(column: Tensor) -> Tensor:
    """The leading bits of float32 values as int32 from 0, in the order of the values."""
    bits = column.view(torch.int32)
    order = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)
    return order.bitwise_right_shift_(DROPPED).add_(1 << (31 - DROPPED))


def _float_of(order: Tensor) -> Tensor:
    """The float32 values whose rank among all, from -2 ** 31, is ``order``; an infinity in place of NaN."""
    bits = order.int()
    values = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)
    return torch.where(values.isnan(), torch.inf * order.sign(), values)
