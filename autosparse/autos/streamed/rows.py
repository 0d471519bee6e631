"""Rows on disk as a stream: their statistics, batches of them, a sample, and how well a scorer predicts them."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from autosparse.autos.streamed.moments import Moments, total
from autosparse.autos.streamed.read import Columns, Part, read_rows, sample_rows, sum_rows
from autosparse.autos.streamed.shard import StateShard
from autosparse.errors import AutosparseError
from autosparse.seeds import generator

TOGETHER = 64
"""Row groups that are read, shuffled and handed on together: about a million rows, from up to 64 layers and
states."""
AT_ONCE = 1 << 16
"""Rows that are scored at once."""

Mapped = Callable[[Callable[[Any], Columns], Sequence[Any]], Iterator[Mapping[str, Tensor]]]
"""Does work on each item, in this process or in others, and yields the rows that it returns: on the CPU, in the order
of the items, in pieces of any size."""


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
        work = partial(sum_rows, inputs=self.inputs, seed=self.seed, low=self.held_out)
        return total(self.mapped(work, self.shards))

    def batches(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The train rows in batches of ``size``: standardised features (size, inputs) and targets (size,).

        Shuffled anew in each epoch: row groups at random, and the rows of each 64 of them. The last batch may be
        smaller. Neither order nor batches depend on the number of workers.
        """
        for features, target, _ in self._cut([(self.held_out, 1.0)], size, epoch):
            yield self.moments.standardisation(features.unbind(1)), target

    def sample(self) -> tuple[Tensor, Tensor]:
        """Standardised features (n, inputs) and targets (n,) of at most about ``most`` train rows.

        Each has the same chance; each run, layer, state and survival count has its share.
        """
        share = min(1.0, self.most / self.moments.count)
        if share < 1:
            logging.getLogger(__name__).warning(
                "this backbone learns from rows in memory: of %d train rows it takes a stratified sample of about %d",
                self.moments.count,
                self.most,
            )
        work = partial(sample_rows, inputs=self.inputs, seed=self.seed, low=self.held_out, share=share)
        found = list(self.mapped(work, self.shards))
        features, target = (
            torch.cat([part[name] for part in found]).to(self.device) for name in ("features", "target")
        )
        return self.moments.standardisation(features.unbind(1)), target

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
        pieces = list(enumerate(groups[start : start + TOGETHER] for start in range(0, len(groups), TOGETHER)))
        work = partial(read_rows, inputs=self.inputs, seed=self.seed, parts=parts, epoch=epoch)
        names = ("features", "target", "part")
        return cut((tuple(rows[name].to(self.device) for name in names) for rows in self.mapped(work, pieces)), size)


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
