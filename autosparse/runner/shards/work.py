"""What actors do with shards: score features, count scores, make masks."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from torch import Tensor

from autosparse.autos.scorer import Scorer
from autosparse.autos.table import Table
from autosparse.errors import AutosparseError, CorruptFile, WorkFailed
from autosparse.files import canonical_json
from autosparse.irp.digests import KEY, Digests
from autosparse.runner.shards.actor import Beat
from autosparse.shards import Shard, ShardWriter, read_rows
from autosparse.shards.layout import ROWS_AT_ONCE, Shapes
from autosparse.shards.reader import read_column, read_description, source_digest
from autosparse.shards.sharded_topk import BINS, add_up, count_high, count_low, keep_above, ordered_bits

JUDGE, SOURCE = "judge", "source_digest"
"""Keys of the description of a shard of scores: what names the scorer, and the features that were read."""
COSTLY = 1 << 10
"""A multiple of the rows that networks take at a time, so that it does not change the scores."""


@dataclass
class ScoreShard:
    """Turns features into scores, and counts the scores by their upper halves."""

    judge: ray.ObjectRef
    """The scorer, or the surface that stands for it."""
    inputs: tuple[str, ...]
    shapes: Shapes
    folder: str
    description: dict[str, Any]

    def __call__(self, shard: Shard, beat: Beat) -> np.ndarray:
        """Write ``scores-*.parquet``, unless it is there and whole; return the counts of the scores' upper halves."""
        torch.set_num_threads(1)
        target = shard.as_in(self.folder, "scores")
        described = {**self.description, "source": shard.name, "start": shard.start}
        digest = source_digest(shard, self.inputs) if JUDGE in described else None
        if digest and (held := count_held(target, {**described, SOURCE: digest}, beat)) is not None:
            return held
        counts = np.zeros(BINS, np.int64)
        described["node"] = ray.get_runtime_context().get_node_id()
        digests, columns = Digests(self.inputs), {"score": pa.float32()}
        with target.place.made(target.name) as path, ShardWriter(path, "scores", columns, described) as writer:
            for rows in read_rows(shard, self.shapes, self.inputs, digests):
                scores = self._scores(rows, beat)
                counts += count_high(_bits(scores, shard))
                writer.append({"score": scores})
            described[SOURCE] = digests.together  # of what was read, not what the shard says of itself
        return counts

    def _scores(self, rows: dict[str, np.ndarray], beat: Beat) -> np.ndarray:
        columns = [torch.from_numpy(rows[name].copy()).to(self._device) for name in self.inputs]
        parts = []
        for start in range(0, len(columns[0]), self._at_once):
            parts.append(self._ask([column[start : start + self._at_once] for column in columns]))
            beat()
        return torch.cat(parts).float().cpu().numpy()

    @cached_property
    def _device(self) -> torch.device:
        return torch.device("cuda" if ray.get_gpu_ids() else "cpu")

    @cached_property
    def _held(self) -> Table | Scorer:
        return ray.get(self.judge)

    @cached_property
    def _ask(self) -> Callable[[list[Tensor]], Tensor]:
        return self._held.predictor(self._device) if isinstance(self._held, Scorer) else self._held

    @property
    def _at_once(self) -> int:
        """Rows between two signs of life; a network may take a hundredth of a second per row."""
        return COSTLY if isinstance(self._held, Scorer) and self._held.network.costly else ROWS_AT_ONCE


@dataclass(frozen=True)
class CountLow:
    """Counts the scores whose upper half is ``high`` by their lower halves."""

    high: int

    def __call__(self, shard: Shard, beat: Beat) -> np.ndarray:
        """The counts of one shard of scores, of shape (BINS,)."""
        return add_up(count_low(bits, self.high) for bits in _read_bits(shard, beat))


@dataclass(frozen=True)
class CountEqual:
    """Counts the scores that equal the cut."""

    cut: int

    def __call__(self, shard: Shard, beat: Beat) -> np.ndarray:
        """The number of scores in one shard that equal the cut, of shape (1,)."""
        return np.array([sum(int((bits == self.cut).sum()) for bits in _read_bits(shard, beat))], np.int64)


@dataclass(frozen=True)
class MaskShard:
    """Turns scores into masks."""

    cut: int
    ties: dict[str, int]
    """How many of the scores that equal the cut are kept, by file name."""
    folder: str
    description: dict[str, Any]

    def __call__(self, shard: Shard, beat: Beat) -> np.ndarray:
        """Write ``masks-*.parquet``, a bit per weight; return how many are kept, of shape (1,)."""
        left, kept = self.ties[shard.name], 0
        target, described = shard.as_in(self.folder, "masks"), {**self.description, "start": shard.start}
        columns = {"keep": pa.bool_()}
        with target.place.made(target.name) as path, ShardWriter(path, "masks", columns, described) as writer:
            for bits in _read_bits(shard, beat):
                keep = keep_above(bits, self.cut, left)
                left -= min(left, int((bits == self.cut).sum()))
                kept += int(keep.sum())
                writer.append({"keep": keep})
        return np.array([kept], np.int64)


def count_held(scores: Shard, described: dict[str, Any], beat: Beat) -> np.ndarray | None:
    """The counts of a shard of scores that is already there; None if it is missing, damaged, or of something else.

    :param described: what its description must say; its values must be those that it was written with.
    """
    try:
        says = read_description(scores)
        as_read = json.loads(canonical_json(described))  # a tuple is a list there
        if any(says.get(key) != value for key, value in as_read.items()):
            return None
        counts, digests = np.zeros(BINS, np.int64), Digests(("score",))
        for chunk in read_column(scores, "score"):
            counts += count_high(_bits(chunk, scores))
            digests.update({"score": chunk})
            beat()
    except (CorruptFile, FileNotFoundError):
        return None
    return counts if digests.by_column == says.get(KEY) else None


def _read_bits(shard: Shard, beat: Beat) -> Iterator[np.ndarray]:
    """The ordered bits of a shard of scores, chunk by chunk, with a beat after each."""
    for scores in read_column(shard, "score"):
        yield _bits(scores, shard)
        beat()


def _bits(scores: np.ndarray, shard: Shard) -> np.ndarray:
    try:
        return ordered_bits(scores)
    except AutosparseError as error:
        raise WorkFailed(f"{shard}: {error}") from error
