"""Rows on disk as a stream: their statistics, batches of them, a sample, and how well a scorer predicts them."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from autosparse.autos.features import Standardisation
from autosparse.autos.streamed.folder import StateShard
from autosparse.autos.streamed.moments import Moments, total
from autosparse.autos.streamed.read import Columns, Pieces, ReadRows, SampleRows, SumRows
from autosparse.errors import AutosparseError
from autosparse.seeds import generator

TOGETHER = 64
"""Row groups that are read, shuffled and handed on together: about a million rows, of as many layers and states."""
AT_ONCE = 1 << 16
"""Rows that are scored at once."""

Part = tuple[float, float]
"""Rows whose :func:`autosparse.autos.streamed.read.uniform` number is at least the first and below the second."""


class Mapped(Protocol):
    """Does work on each item, in this process or in others."""

    def __call__(self, work: Callable[[Any], Columns], items: Sequence[Any]) -> Iterator[Mapping[str, Tensor]]:
        """The rows that the work on each item returns, on the CPU and in the order of the items, cut anywhere."""
        ...


def one_by_one(work: Callable[[Any], Columns], items: Sequence[Any]) -> Iterator[Mapping[str, Tensor]]:
    """Work in this process."""
    for item in items:
        yield {name: torch.from_numpy(column) for name, column in work(item).items()}


class RowStream:
    """Rows of states that a backbone learns from without having them all in memory.

    :param shards: from :func:`autosparse.autos.streamed.write_rows`.
    :param held_out: the share of the rows to hold out.
    :param most: the most rows of a :meth:`sample`.
    :param device: where batches go.
    :raises AutosparseError: if there are too few rows.
    """

    def __init__(
        self,
        shards: Sequence[StateShard],
        inputs: Sequence[str],
        seed: int,
        held_out: float,
        most: int,
        device: torch.device | str = "cpu",
        mapped: Mapped = one_by_one,
    ):
        self.shards, self.inputs = [shard for shard in shards if shard.rows], tuple(inputs)
        self.seed, self.held_out, self.most = seed, held_out, most
        self.device, self.mapped = torch.device(device), mapped
        self.rows = sum(shard.rows for shard in self.shards)
        if not self.shards or not 2 <= self.moments.count < self.rows:
            raise AutosparseError(f"{self.rows} rows are too few to fit a scorer on")

    @cached_property
    def moments(self) -> Moments:
        """The statistics of the train rows, all that are not held out; one pass over the files, which checks them."""
        return total(self.mapped(SumRows(self.inputs, self.seed, self.held_out), self.shards))

    @property
    def count(self) -> int:
        """Number of train rows."""
        return self.moments.count

    @cached_property
    def standardisation(self) -> Standardisation:
        """That of the train rows."""
        return self.moments.standardisation

    def batches(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The train rows in batches of ``size``: standardised features (size, inputs) and targets (size,).

        Shuffled anew in each epoch: row groups at random, and the rows of each 64 of them. The last batch may be
        smaller. Neither order nor batches depend on the number of workers.
        """
        for features, target, _ in self._cut([(self.held_out, 1.0)], size, epoch):
            yield self.standardisation(features.unbind(1)), target

    def sample(self) -> tuple[Tensor, Tensor]:
        """Standardised features (n, inputs) and targets (n,) of at most about ``most`` train rows.

        Each has the same chance; each run, layer, state and survival count has its share.
        """
        share = min(1.0, self.most / self.count)
        if share < 1:
            logging.getLogger(__name__).warning(
                "this backbone learns from rows in memory: of %d train rows it takes a stratified sample of about %d",
                self.count,
                self.most,
            )
        found = list(self.mapped(SampleRows(self.inputs, self.seed, self.held_out, share), self.shards))
        features = torch.cat([part["features"] for part in found]).to(self.device)
        return self.standardisation(features.unbind(1)), torch.cat([part["target"] for part in found]).to(self.device)

    def r_squared(self, predict: Callable[[dict[str, Tensor]], Tensor], parts: Sequence[Part]) -> list[float]:
        """The share of the target's variance in each part of the rows that ``predict`` explains, from one pass."""
        sums = torch.zeros(len(parts), 4, dtype=torch.float64)
        for features, target, part in self._cut(parts, AT_ONCE):
            predicted = predict(dict(zip(self.inputs, features.unbind(1), strict=True)))
            y, error = target.double(), predicted.double() - target.double()
            for index in range(len(parts)):
                here = part == index
                terms = torch.stack([here.double(), y * here, y.square() * here, error.square() * here])
                sums[index] += terms.sum(1).cpu()
        spread = sums[:, 2] - sums[:, 1].square() / sums[:, 0]
        return torch.where(spread > 0, 1 - sums[:, 3] / spread, torch.zeros(())).tolist()

    def _cut(self, parts: Sequence[Part], size: int, epoch: int | None = None) -> Iterator[tuple[Tensor, ...]]:
        groups = [(shard, group) for shard in self.shards for group in range(shard.groups)]
        if epoch is not None:
            order = torch.randperm(len(groups), generator=generator(self.seed, "order of groups", epoch))
            groups = [groups[i] for i in order.tolist()]
        pieces = [
            Pieces(number, tuple(groups[start : start + TOGETHER]))
            for number, start in enumerate(range(0, len(groups), TOGETHER))
        ]
        found = self.mapped(ReadRows(self.inputs, self.seed, tuple(parts), epoch), pieces)
        names = ("features", "target", "part")
        return cut((tuple(rows[name].to(self.device) for name in names) for rows in found), size)


def cut(parts: Iterable[tuple[Tensor, ...]], size: int) -> Iterator[tuple[Tensor, ...]]:
    """The rows of ``parts``, tensors with as many rows each, in pieces of ``size``; the last may be smaller."""
    held: tuple[Tensor, ...] | None = None
    for part in parts:
        joined = part if held is None else tuple(torch.cat(pair) for pair in zip(held, part, strict=True))
        whole = len(joined[0]) // size * size
        yield from zip(*(column[:whole].split(size) for column in joined), strict=True) if whole else ()
        held = tuple(column[whole:].clone() for column in joined)
    if held is not None and len(held[0]):
        yield held
