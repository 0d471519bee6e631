"""Reading shards: a folder's description, and the rows of one file in order. What is wrong is named by its file."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autosparse.errors import AutosparseError, CorruptFile
from autosparse.irp.parquet import KEY as SURVIVAL
from autosparse.shards.layout import ROWS_AT_ONCE, Shapes, Shard, Shards, pieces
from autosparse.shards.writer import KEYS

AGAIN = "make the shards again"
IN_ORDER = np.arange(ROWS_AT_ONCE)


def open_features(folder: str | Path) -> Shards:
    """Describe a folder of feature shards, or of survival shards, which hold the same features.

    Only the files' footers are read. Raises :class:`CorruptFile` naming a file that is truncated, missing, foreign,
    or of another network.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise AutosparseError(
            f"no features in {folder}: it holds no part-*.parquet; write some with autosparse.shards.save_features, "
            "or give a survival dataset (`autosparse irp`)"
        )
    read = [_describe(path) for path in paths]
    first = read[0][0]
    for path, (described, _, columns) in zip(paths, read, strict=True):
        if any(described[key] != first[key] for key in ("shapes", "provenance", "shards")) or columns != read[0][2]:
            raise CorruptFile(f"{path} belongs to another network than {paths[0].name}; keep one per folder")
    numbers = {described["shard"] for described, _, _ in read}
    missing = sorted(set(range(first["shards"])) - numbers)
    if missing or len(paths) != first["shards"]:
        name = f"part-{missing[0]:05d}.parquet" if missing else paths[-1].name
        raise CorruptFile(f"{folder} is not whole: {name} is {'missing' if missing else 'one too many'}; {AGAIN}")
    shapes = {name: tuple(shape) for name, shape in first["shapes"]}
    files, start = [], 0
    for path, (_, rows, _) in zip(paths, read, strict=True):
        files.append(Shard(path, start, rows))
        start += rows
    if start != sum(map(math.prod, shapes.values())):
        raise CorruptFile(f"{folder} holds {start} rows for the weights {dict(shapes)}; {AGAIN}")
    return Shards(folder, shapes, read[0][2], first["provenance"], tuple(files))


def require_inputs(shards: Shards, inputs: Sequence[str]) -> None:
    """Raise where a scorer that reads ``inputs`` lacks a column."""
    for name in inputs:
        if name not in shards.columns:
            raise AutosparseError(
                f"the scorer reads {', '.join(inputs)}, but {shards.files[0].path} has no float32 column {name!r} "
                f"(it has {', '.join(shards.columns) or 'none'}); fit a scorer with other --inputs"
            )


def read_rows(shard: Shard, shapes: Shapes, columns: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """The shard's columns, a chunk of at most ROWS_AT_ONCE rows at a time, in order.

    Raises :class:`CorruptFile` naming the file where a page does not match its checksum, a value is missing, or the
    rows are not those of the shard's place.
    """
    row = shard.start
    try:
        with pq.ParquetFile(shard.path, page_checksum_verification=True, read_dictionary=["layer"]) as file:
            wanted = ["layer", "position", *columns]
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=wanted, use_threads=False):
                _check(batch, shapes, range(row, row + len(batch)), shard)
                row += len(batch)
                yield {name: batch.column(name).to_numpy() for name in columns}
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(f"{shard.path} is truncated or damaged: {error}; {AGAIN}") from error
    if row != shard.start + shard.rows:
        raise CorruptFile(f"{shard.path} holds {row - shard.start} rows, not {shard.rows}; {AGAIN}")


def content_digest(path: Path) -> str:
    """What names a shard's content: its own digest, or, of a survival shard, the dataset's fingerprint and its number."""
    described = _describe(path)[0]
    return str(described.get("digest") or f"{described['fingerprint']}#{described['shard']}")


def _check(batch: pa.RecordBatch, shapes: Shapes, rows: range, shard: Shard) -> None:
    if rows.stop > shard.start + shard.rows or any(column.null_count for column in batch.columns):
        raise CorruptFile(f"{shard.path} has a row too many or without a value; {AGAIN}")
    layers, positions = batch.column("layer"), batch.column("position").to_numpy()
    codes = {name: code for code, name in enumerate(layers.dictionary.to_pylist())}
    indices, start = layers.indices.to_numpy(), 0
    for name, part in pieces(shapes, rows):
        here = slice(start, start := start + part.stop - part.start)
        off = positions[here] - IN_ORDER[: here.stop - here.start]
        if (off != part.start).any() or (indices[here] != codes.get(name, -1)).any():
            raise CorruptFile(
                f"{shard.path} does not hold its rows in the order of layers and positions "
                f"({name!r} from {part.start} on); {AGAIN}"
            )


def _describe(path: Path) -> tuple[dict[str, Any], int, tuple[str, ...]]:
    """A shard's description, its number of rows, and its float32 columns."""
    try:
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(f"{path} is truncated or no Parquet file: {error}; {AGAIN}") from error
    text = next((metadata.metadata[key] for key in (KEYS["features"], SURVIVAL) if key in (metadata.metadata or {})), None)
    if text is None or not {"layer", "position"} <= set(schema.names):
        raise CorruptFile(
            f"{path} is not a shard of autosparse (columns {schema.names}); give a folder that save_features or "
            "`autosparse irp` wrote"
        )
    try:
        content: dict[str, Any] = json.loads(text)
        for key in ("shard", "shards", "shapes", "provenance"):
            content[key]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"{path} has damaged metadata; {AGAIN}") from error
    return content, metadata.num_rows, tuple(field.name for field in schema if field.type == pa.float32())
