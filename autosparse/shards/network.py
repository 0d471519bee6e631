"""A network's features at initialisation as shards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch.nn.functional as F
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, one_thread
from autosparse.criteria.gradients import mean_gradient, prunable_or_fail
from autosparse.devices import full_float32
from autosparse.errors import UnknownName
from autosparse.files import atomic_folder
from autosparse.mode import EVAL, MODES, in_mode
from autosparse.seeds import derive_seed, drawing_from
from autosparse.shards.layout import PARTS, SHARD_ROWS, Shapes, count_rows, pieces, split_rows
from autosparse.shards.writer import ShardWriter

FEATURES = {"param": pa.float32(), "grad": pa.float32()}


def save_features(
    model: nn.Module,
    batches: Batches,
    folder: str | Path,
    loss: Loss = F.cross_entropy,
    provenance: dict[str, Any] | None = None,
    shard_rows: int = SHARD_ROWS,
    mode: str = EVAL,
) -> Path:
    """Write theta_0 and g_0 of every prunable weight as ``part-*.parquet``; the folder appears whole or not at all.

    Columns: ``layer``, ``position``, ``param``, ``grad``, the latter two float32: what the criterion ``autos`` reads,
    with the model's weights as they are and the gradient of the mean loss over all batches.

    :param mode: in which the gradient is taken, ``eval`` or ``train``; the files say so, and only a scorer that learned
        in the same mode reads them.
    :raises UnknownName: if there is no such mode.
    """
    if mode not in MODES:
        raise UnknownName("mode", mode, MODES)
    weights = {name: weight.detach() for name, weight in prunable_or_fail(model).items()}
    device = next(iter(weights.values())).device
    drawing = drawing_from(derive_seed(0, "scoring"), device)
    with one_thread(device), full_float32(), drawing, in_mode(model, mode):  # as asp.score does
        columns = {"param": weights, "grad": mean_gradient(model, batches, loss)}
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    shards = split_rows(range(count_rows(shapes)), shard_rows)
    described = {**(provenance or {}), "gradient_mode": mode}
    with atomic_folder(Path(folder), ours=(PARTS,)) as temporary:
        for number, rows in enumerate(shards):
            with writer_of(shards, number, temporary, shapes, described) as writer:
                for chunk in split_rows(rows):
                    writer.append({name: _cut(tensors, shapes, chunk) for name, tensors in columns.items()})
    return Path(folder)


def writer_of(
    shards: Sequence[range], number: int, folder: Path, shapes: Shapes, provenance: dict[str, Any]
) -> ShardWriter:
    """A writer of the features of ``shards[number]``."""
    listed = [[name, list(shape)] for name, shape in shapes.items()]
    description = {"provenance": provenance, "shapes": listed, "rows": count_rows(shapes)}
    description |= {"shard": number, "shards": len(shards)}
    path = folder / f"part-{number:05d}.parquet"
    return ShardWriter(path, "features", FEATURES, description, shards[number].start, shapes)


def _cut(tensors: Mapping[str, Tensor], shapes: Shapes, rows: range) -> np.ndarray:
    """``rows`` of all tensors joined flat, float32."""
    return np.concatenate([tensors[name].flatten()[p].float().cpu().numpy() for name, p in pieces(shapes, rows)])
