"""Linear and convolutional layers: which inputs the kept weights read, and the layer that reads only these."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, fx, nn

from autosparse.compaction.maker import Channels, Maker, rows_of
from autosparse.compaction.rules import Channeled, Rule
from autosparse.compaction.sparse import is_worth_it

GATHER = 8
"""Channels are gathered for a layer if that saves more multiplications than this for each entry that is copied."""


class Weighted(Rule):
    """A Linear layer, or a convolution in any number of groups."""

    def __init__(self, node: fx.Node, layer: nn.Linear | Channeled, mask: Tensor):
        super().__init__(node, len(layer.weight))
        self.layer = layer
        self.groups = 1 if isinstance(layer, nn.Linear) else layer.groups
        self.kept_weights = mask.cpu().flatten(2).any(2) if mask.dim() > 2 else mask.cpu()
        self.reads = torch.block_diag(*self.kept_weights.chunk(self.groups)).bool()

    def knows_constants(self, make: Maker) -> bool:
        """Return True for a dense Linear layer."""
        return isinstance(self.layer, nn.Linear) and not self._is_sparse(make)

    def _is_sparse(self, make: Maker) -> bool:
        """Whether what is left of a Linear layer is to be computed sparse."""
        if not (make.sparse and isinstance(self.layer, nn.Linear)):
            return False
        [source] = self.sources
        have = make.have[source] + (make.still[source][1] if source in make.still else [])
        return is_worth_it(self.layer, self.reads[make.wanted(self.node)][:, have])

    def nonzero(self, given: Sequence[Tensor]) -> Tensor:
        """The rows that read something, or all if they have biases."""
        return torch.full((self.width,), True) if self.layer.bias is not None else self.reads[:, given[0]].any(1)

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """The channels that the kept rows read."""
        return [self.reads[kept].any(0) & given[0]]

    def build(self, make: Maker) -> None:
        """Add a layer of the kept rows and of the columns that they read."""
        source, rows = self.sources[0], make.wanted(self.node)
        sparse = self._is_sparse(make)
        if sparse:
            groups, columns, live = 1, self._columns(make.have[source], rows, sparse), len(rows)
        elif self.groups > 1:
            groups, columns, rows = self._in_groups(set(rows), set(make.have[source]))
        else:
            rows, live = self._live_first(rows, make.have[source])
            groups, columns = 1, self._columns(make.have[source], rows[:live], sparse)
        constants = make.still[source][1] if source in make.still else []
        parts = {"weight": self._positions(groups, rows, columns + constants)}
        if self.layer.bias is not None:
            parts["bias"] = rows_of(self.layer.bias, rows)
        make.layer(self.node, make.carried(source, columns), parts, groups, rows)
        if sparse:
            make.sparsify(self.node, self.reads[rows][:, columns])
        elif isinstance(self.layer, nn.Linear) and (constants or live < len(rows)):
            make.split(self.node, source, (live, len(columns)))

    def _positions(self, groups: int, rows: Channels, columns: Channels) -> Tensor:
        """The flat positions, in the full weight, of the weight of these rows and columns, given group by group."""
        weight, width = self.layer.weight, len(columns) // groups
        positions = rows_of(weight, rows)
        positions = positions.flatten(2) if positions.dim() > 2 else positions.unsqueeze(2)
        in_group = torch.tensor(columns).view(groups, width) % weight.shape[1]
        in_group = in_group.repeat_interleave(len(rows) // groups, 0).unsqueeze(2)
        positions = positions.gather(1, in_group.expand(-1, -1, positions.shape[2]))
        return positions.view(len(rows), width, *weight.shape[2:])

    def _live_first(self, rows: Channels, have: Channels) -> tuple[Channels, int]:
        """The rows, first those that read anything that differs from example to example, and the number of these.

        The number is at least 1; for a convolution it is that of all rows.
        """
        if not isinstance(self.layer, nn.Linear):
            return rows, len(rows)
        reading = self.reads[:, have].any(1)
        live = {row for row in rows if reading[row]}
        return _kept_first(rows, live), max(1, len(live))

    def _columns(self, have: Channels, rows: Channels, sparse: bool) -> Channels:
        """The channels of ``have`` that are read; all of them if leaving out the rest would save less than it costs."""
        read = self.reads[rows].any(0)
        columns = [channel for channel in have if read[channel]] or have[:1]
        if sparse:  # it multiplies only what is kept, so that only its gathering counts
            return columns if 2 * len(columns) < len(have) else have
        saved = (len(have) - len(columns)) * len(rows) * self.layer.weight[0, 0].numel()
        return columns if saved > GATHER * len(columns) else have

    def _in_groups(self, rows: set[int], have: set[int]) -> tuple[int, Channels, Channels]:
        """The number of groups that compute anything, their columns and their rows, group by group.

        All groups must be of one size, so those with fewer kept rows or columns take more of their own.
        """
        tall, wide = self.width // self.groups, self.kept_weights.shape[1]
        kept = [g for g in range(self.groups) if rows & set(range(g * tall, g * tall + tall))]
        of_rows = [_kept_first(range(g * tall, g * tall + tall), rows) for g in kept]
        height = max(sum(row in rows for row in part) for part in of_rows)
        of_rows = [sorted(part[:height]) for part in of_rows]
        read = [{int(c) for c in self.reads[part].any(0).nonzero()} & have for part in of_rows]
        width = max(1, *(len(part) for part in read))
        of_columns = [
            sorted(_kept_first(range(g * wide, g * wide + wide), part)[:width])
            for g, part in zip(kept, read, strict=True)
        ]
        return len(kept), list(chain(*of_columns)), list(chain(*of_rows))


def _kept_first(channels: Sequence[int], kept: set[int]) -> Channels:
    """``channels``, first those of ``kept``, and otherwise in their order."""
    return sorted(channels, key=lambda channel: channel not in kept)
