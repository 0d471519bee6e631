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
from autosparse.shards.layout import PARTS, SHARD_ROWS, Shapes, count_rows, split_rows
from autosparse.shards.network import FEATURES, writer_of


def save_synthetic_features(
    folder: str | Path, shapes: Shapes, seed: int = 0, processes: int = 1, shard_rows: int = SHARD_ROWS
) -> Path:
    """Write shards like those of :func:`save_features` in bounded memory, several at a time.

    ``param`` is normal with a deviation of 0.05; ``grad`` is heavy-tailed, 0.002 times the cube of a normal number.
    The same shapes, seed and ``shard_rows`` give the same rows. The files say that the gradient was taken in training
    mode: a scorer that learned in evaluation mode refuses them.
    """
    shards = split_rows(range(count_rows(shapes)), shard_rows)
    with atomic_folder(Path(folder), ours=(PARTS,)) as temporary:
        write = partial(_write, temporary, shapes, seed, shards)
        # forked processes could inherit locks of torch's and Arrow's threads
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(write, range(len(shards))))
    return Path(folder)


def _write(folder: Path, shapes: Shapes, seed: int, shards: list[range], number: int) -> None:
    torch.set_num_threads(1)
    draws = generator(seed, "synthetic features", number)
    provenance = {"synthetic": {"seed": seed}, "gradient_mode": TRAIN}
    with writer_of(shards, number, folder, shapes, provenance) as writer:
        for chunk in split_rows(shards[number]):
            param, grad = (torch.randn(len(chunk), generator=draws).numpy() for _ in FEATURES)
            writer.append({"param": param * np.float32(0.05), "grad": grad**3 * np.float32(0.002)})
