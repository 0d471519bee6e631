"""Survival datasets on disk: a folder of Parquet shards with provenance as schema metadata. Never pickle."""

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import atomic_folder, canonical_json, refuse_pointer
from autosparse.irp import digests
from autosparse.irp.digests import Digests
from autosparse.irp.survival import Survival

KEY = b"autosparse.survival"
SHARDS = ("part-*.parquet",)
SHARD_ROWS = 4_000_000
NUMBERS = ("param", "grad", "survived")
SCHEMA = pa.schema(
    [
        ("layer", pa.dictionary(pa.int32(), pa.string())),
        ("position", pa.int64()),
        ("param", pa.float32()),
        ("grad", pa.float32()),
        ("survived", pa.int32()),
    ]
)


def save_survival(survival: Survival, folder: str | Path, shard_rows: int = SHARD_ROWS) -> Path:
    """Write ``survival`` as ``part-*.parquet`` shards; the folder appears whole or not at all.

    Columns: ``layer`` (dictionary string), ``position`` (int64, flat index in the layer), ``param``, ``grad``
    (float32), ``survived`` (int32). Each shard's schema metadata holds the provenance, the layers' shapes, its own
    number and the number of all shards and rows, so that a missing shard is noticed. It also holds a digest of each
    column of numbers, so that whoever reads one shard notices a column that was permuted or exchanged.
    """
    folder = Path(folder)
    table = _table(survival)
    shards = max(1, math.ceil(table.num_rows / shard_rows))
    described = {
        "provenance": survival.provenance,
        "fingerprint": survival.fingerprint,
        "shapes": [[name, list(param.shape)] for name, param in survival.param.items()],
        "shards": shards,
        "rows": table.num_rows,
    }
    with atomic_folder(folder, ours=SHARDS) as temporary:
        for shard in range(shards):
            piece = table.slice(shard * shard_rows, shard_rows)
            metadata = {KEY: canonical_json({**described, "shard": shard, digests.KEY: _digests(piece)})}
            path = temporary / f"part-{shard:05d}.parquet"
            pq.write_table(piece.replace_schema_metadata(metadata), path, write_page_checksum=True)
    return folder


def load_survival(folder: str | Path) -> Survival:
    """Read what :func:`save_survival` wrote.

    Rows are placed by their ``layer`` and ``position``, whatever their order. Other files in the folder, such as those
    of a Hugging Face repository, are left alone.

    :raises CorruptFile: naming the shard that is truncated, missing, foreign, or of another dataset.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise AutosparseError(
            f"no survival dataset in {folder}: it holds no part-*.parquet; make one with `autosparse irp`"
        )
    described = [read_metadata(path) for path in paths]
    for content in described:
        content.pop(digests.KEY, None)  # of the shard; the fingerprint is of all values
    shards = {content.pop("shard") for content in described}
    for path, content in zip(paths, described, strict=True):
        if content != described[0]:
            raise CorruptFile(f"{path} belongs to another survival dataset than {paths[0].name}; keep one per folder")
    if (missing := first_missing(shards, described[0]["shards"])) is not None:
        raise CorruptFile(f"{folder} is incomplete: shard part-{missing:05d}.parquet is missing")
    tables = []
    for path in paths:
        try:
            tables.append(pq.read_table(path, page_checksum_verification=True))
        except (pa.ArrowException, OSError) as error:
            raise CorruptFile(f"{path} is truncated or damaged: {error}; make the dataset again") from error
    return _survival(pa.concat_tables(tables, promote_options="none").unify_dictionaries(), described[0], folder)


def read_metadata(path: Path) -> dict[str, Any]:
    """The description in one shard's schema metadata; refuses files that are not shards of ours."""
    try:
        refuse_pointer(path)
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(f"{path} is truncated or no Parquet file: {error}; make the dataset again") from error
    metadata = schema.metadata or {}
    if KEY not in metadata or not schema.remove_metadata().equals(SCHEMA):
        raise CorruptFile(
            f"{path} is not a survival shard of autosparse (columns {schema.names}); "
            "give a folder that `autosparse irp` wrote"
        )
    try:
        content: dict[str, Any] = json.loads(metadata[KEY])
        check_description(content)
        content["rows"], content["fingerprint"]  # raises if missing
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"{path} has damaged metadata; make the dataset again") from error
    return content


def check_description(content: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError if a shard's number, the number of shards, or the shapes cannot be right.

    Anybody can write a file's metadata: a wrong value must not become a huge array, or a layer of another name.
    """
    numbers = [content["shard"], content["shards"], *(size for _, shape in content["shapes"] for size in shape)]
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        raise ValueError("sizes are whole numbers")
    names = [name for name, _ in content["shapes"]]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError("layers are texts, each once")
    content["provenance"].items()
    if not all(isinstance(digest, str) for digest in content.get(digests.KEY, {}).values()):
        raise ValueError("digests are texts")


def first_missing(numbers: Collection[int], count: int) -> int | None:
    """The first of 0..count-1 that is not among ``numbers``."""
    return next((n for n in range(min(count, len(numbers) + 1)) if n not in numbers), None)


def find_datasets(folder: str | Path) -> list[Path]:
    """The survival datasets at ``folder``: itself, or its sub-folders (``seed-*``) that hold shards.

    Folders whose name begins with a dot were left by a process that was killed, and do not count.
    """
    folder = Path(folder)
    if any(folder.glob("part-*.parquet")):
        return [folder]
    below = {path.parent for path in folder.rglob("part-*.parquet")}
    found = sorted(b for b in below if not any(part.startswith(".") for part in b.relative_to(folder).parts))
    if not found:
        raise AutosparseError(
            f"no survival dataset in {folder}: neither it nor a sub-folder holds part-*.parquet; "
            "make one with `autosparse irp`"
        )
    return found


def _table(survival: Survival) -> pa.Table:
    names = list(survival.param)
    sizes = [survival.param[name].numel() for name in names]
    codes = np.repeat(np.arange(len(names), dtype=np.int32), sizes)
    layer = pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))
    columns = [
        torch.cat([part[name].flatten() for name in names]).numpy()
        for part in (survival.param, survival.grad, survival.survived)
    ]
    position = np.concatenate([np.arange(size, dtype=np.int64) for size in sizes])
    return pa.table([layer, position, *columns], schema=SCHEMA)


def _digests(table: pa.Table) -> dict[str, str]:
    found = Digests(NUMBERS)
    for batch in table.to_batches():
        found.update({name: batch.column(name).to_numpy() for name in NUMBERS})
    return found.by_column


def _survival(table: pa.Table, described: dict[str, Any], folder: Path) -> Survival:
    layers = table.column("layer").combine_chunks()
    index = layers.indices.to_numpy(zero_copy_only=False)  # a row without a layer gives NaN, which is no code
    position = table.column("position").to_numpy()
    columns = {name: table.column(name).to_numpy() for name in NUMBERS}
    parts: dict[str, dict[str, torch.Tensor]] = {name: {} for name in columns}
    codes = {name: code for code, name in enumerate(layers.dictionary.to_pylist())}
    for name, shape in described["shapes"]:
        rows = np.flatnonzero(index == codes.get(name, -1))
        order = rows[np.argsort(position[rows], kind="stable")]
        if len(order) != math.prod(shape) or not np.array_equal(position[order], np.arange(len(order))):
            raise CorruptFile(f"{folder} does not hold each weight of {name!r} once; make the dataset again")
        for column, values in columns.items():
            parts[column][name] = torch.from_numpy(values[order].copy()).view(shape)
    survival = Survival(**parts, provenance=described["provenance"])
    if table.num_rows != survival.rows or survival.fingerprint != described["fingerprint"]:
        raise CorruptFile(f"{folder} does not hold the rows that were written; make the dataset again")
    return survival
