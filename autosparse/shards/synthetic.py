"""Features of a network that does not exist, of any size: for benchmarks and trials."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from autosparse.files import atomic_folder
from autosparse.mode import TRAIN
from autosparse.seeds import generator
from autosparse.shards.layout import PARTS, SHARD_ROWS, Shapes, chunks, count_rows, split_rows
from autosparse.shards.network import FEATURES, describe, part
from autosparse.shards.writer import ShardWriter


def save_synthetic_features(
    folder: str | Path,
    shapes: Shapes,
    seed: int = 0,
    processes: int = 1,
    shard_rows: int = SHARD_ROWS,
    mode: str = TRAIN,
) -> Path:
    """Write shards like those of :func:`save_features` in bounded memory, several at a time.

    ``param`` is normal with a deviation of 0.05; ``grad`` is heavy-tailed, 0.002 times the cube of a normal number.
    The same shapes, seed and ``shard_rows`` give the same rows. The files name ``mode`` as that of the gradient: a
    scorer that learned in the other mode refuses them.
    """
    shards = split_rows(count_rows(shapes), shard_rows)
    with atomic_folder(Path(folder), ours=(PARTS,)) as temporary:
        write = partial(_write, temporary, shapes, seed, mode, shards)
        # forked processes could inherit locks of torch's and Arrow's threads
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(write, range(len(shards))))
    return Path(folder)


def _write(folder: Path, shapes: Shapes, seed: int, mode: str, shards: list[range], number: int) -> None:
    torch.set_num_threads(1)
    draws, rows = generator(seed, "synthetic features", number), shards[number]
    description = describe(shapes, {"synthetic": {"seed": seed}, "gradient_mode": mode}, number, len(shards))
    with ShardWriter(part(folder, number), "features", FEATURES, description, rows.start, shapes) as writer:
        for chunk in chunks(rows):
            param, grad = (torch.randn(len(chunk), generator=draws).numpy() for _ in FEATURES)
            writer.append({"param": param * np.float32(0.05), "grad": grad**3 * np.float32(0.002)})
