"""Work on files of rows, in this process or in a worker: statistics, rows to learn from, samples."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from threadpoolctl import threadpool_limits

from autosparse.autos.rows import systematic
from autosparse.autos.streamed.moments import Moments
from autosparse.autos.streamed.shard import AGAIN, StateShard, described_rows, digested
from autosparse.errors import CorruptFile, first_line
from autosparse.irp import digests
from autosparse.irp.digests import Digests
from autosparse.seeds import STEP, derive_seed, generator, splitmix64

Columns = dict[str, np.ndarray]
Part = tuple[float, float]
"""Rows whose :func:`uniform` number is at least the first and below the second."""
Piece = tuple[int, Sequence[tuple[StateShard, int]]]
"""Row groups that are read together, each as shard and index, after their number among all pieces."""


def uniform(seed: int, shard: StateShard, position: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each row, float64, that depends on seed, run, state, layer and position alone.

    It decides what a row is used for, whatever the order of reading and whichever rows are read with it. Hashed by
    SplitMix64.
    """
    salt = derive_seed(seed, "held out", shard.fingerprint, shard.iteration, shard.layer)
    salted = splitmix64(np.array([salt], np.uint64) + STEP) + position.astype(np.uint64)
    return (splitmix64(salted + STEP) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def read_groups(shard: StateShard, groups: Sequence[int], columns: Sequence[str]) -> Columns:
    """The columns of some row groups of a shard, in order.

    :raises CorruptFile: naming the file, if it is gone, truncated or damaged.
    """
    try:
        with pq.ParquetFile(shard.path, page_checksum_verification=True) as file:
            table = file.read_row_groups(list(groups), columns=list(columns), use_threads=False)
            return {name: table.column(name).to_numpy() for name in columns}
    except FileNotFoundError as error:
        raise CorruptFile(f"{shard.path} is not there: every node must see it") from error
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(f"{shard.path} is truncated or damaged: {first_line(error)}; {AGAIN}") from error


def sum_rows(shard: StateShard, inputs: tuple[str, ...], seed: int, low: float) -> Columns:
    """The :class:`Moments` of a shard's rows from ``low`` on, packed; on the way, every value is checked."""
    found, read = Moments.of(np.zeros((0, len(inputs) + 1))), Digests(digested(inputs))
    with threadpool_limits(1):  # the same sums whatever the number of threads
        for group in range(shard.groups):
            rows = read_groups(shard, [group], digested(inputs))
            read.update(rows)
            values = np.stack([rows[name] for name in (*inputs, "target")], 1)
            if not np.isfinite(values).all():
                raise CorruptFile(f"{shard.path} holds values that are not finite; {AGAIN}")
            found = found.plus(Moments.of(values[uniform(seed, shard, rows["position"]) >= low]))
    if (described_rows(shard.path) or {}).get(digests.KEY) != read.by_column:
        raise CorruptFile(f"{shard.path} does not hold the values that were written; {AGAIN}")
    return found.packed


def read_rows(
    piece: Piece, inputs: tuple[str, ...], seed: int, parts: Sequence[Part], epoch: int | None = None
) -> Columns:
    """The rows of a piece whose :func:`uniform` number is in one of ``parts``.

    :param epoch: if given, the rows are shuffled, anew in each epoch.
    :return: ``features`` (n, inputs) and ``target`` (n,), float32; ``part`` (n,) int64, an index.
    """
    number, groups = piece
    found = []
    for shard, group in groups:
        rows = read_groups(shard, [group], ("position", "target", *inputs))
        place = uniform(seed, shard, rows["position"])
        part = np.full(len(place), -1, np.int64)
        for index, (low, high) in enumerate(parts):
            part[(place >= low) & (place < high)] = index
        picked = part >= 0
        features = np.stack([rows[name][picked] for name in inputs], 1)
        found.append({"features": features, "target": rows["target"][picked], "part": part[picked]})
    columns = {name: np.concatenate([own[name] for own in found]) for name in found[0]}
    if epoch is None:
        return columns
    order = np.random.default_rng(derive_seed(seed, "order of rows", epoch, number)).permutation(len(columns["target"]))
    return {name: column[order] for name, column in columns.items()}


def sample_rows(shard: StateShard, inputs: tuple[str, ...], seed: int, low: float, share: float) -> Columns:
    """A share of the rows whose :func:`uniform` number is at least ``low``; each survival count keeps its proportion.

    :return: ``features`` (n, inputs) and ``target`` (n,), float32.
    """
    rows = read_groups(shard, range(shard.groups), ("position", "survived", "target", *inputs))
    train = np.flatnonzero(uniform(seed, shard, rows["position"]) >= low)
    draws = generator(seed, "sample", shard.fingerprint, shard.iteration, shard.layer)
    survived = torch.from_numpy(rows["survived"][train]).long()
    count = min(len(train), int(len(train) * share + torch.rand((), generator=draws)))  # rounded at random
    picked = train[systematic(survived, count, draws).numpy()] if count else train[:0]
    features = np.stack([rows[name][picked] for name in inputs], 1)
    return {"features": features, "target": rows["target"][picked]}
