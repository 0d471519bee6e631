"""Reading shards: a folder's description, and the rows of one file in order. Errors name the file."""

import json
import math
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autosparse.errors import AutosparseError, CorruptFile
from autosparse.irp.digests import KEY, Digests
from autosparse.irp.parquet import KEY as SURVIVAL
from autosparse.irp.parquet import check_description, first_missing
from autosparse.seeds import derive_seed
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
    missing = first_missing({described["shard"] for described, _, _ in read}, first["shards"])
    if missing is not None or len(paths) != first["shards"]:
        name = paths[-1].name if missing is None else f"part-{missing:05d}.parquet"
        raise CorruptFile(
            f"{folder} is not whole: {name} is {'one too many' if missing is None else 'missing'}; {AGAIN}"
        )
    shapes = {name: tuple(shape) for name, shape in first["shapes"]}
    files, start = [], 0
    for path, (_, rows, _) in zip(paths, read, strict=True):
        files.append(Shard(path, start, rows))
        start += rows
    if start != sum(map(math.prod, shapes.values())):
        raise CorruptFile(f"{folder} holds {start} rows for the weights {dict(shapes)}; {AGAIN}")
    bound = all(described.get(KEY, {}).keys() >= set(columns) for described, _, columns in read)
    return Shards(folder, shapes, read[0][2], first["provenance"], tuple(files), bound)


def require_inputs(shards: Shards, inputs: Sequence[str]) -> None:
    """Raise if a scorer that reads ``inputs`` lacks a column."""
    for name in inputs:
        if name not in shards.columns:
            raise AutosparseError(
                f"the scorer reads {', '.join(inputs)}, but {shards.files[0].path} has no float32 column {name!r} "
                f"(it has {', '.join(shards.columns) or 'none'}); fit a scorer with other --inputs"
            )


def read_rows(
    shard: Shard, shapes: Shapes, columns: Sequence[str], digests: Digests | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """The shard's columns, a chunk of at most ROWS_AT_ONCE rows at a time, in order.

    :param digests: of ``columns``; they are updated with every chunk.

    Raises :class:`CorruptFile` naming the file if a page does not match its checksum, a value is missing, or the rows
    are not those of the shard's place; after the last chunk also if a column is not the one that was written.
    """
    row, digests = shard.start, digests or Digests(columns)
    for batch in _batches(shard, ["layer", "position", *columns]):
        _check(batch, shapes, range(row, row + len(batch)), shard)
        row += len(batch)
        chunk = {name: batch.column(name).to_numpy() for name in columns}
        digests.update(chunk)
        yield chunk
    written = _describe(shard.path)[0].get(KEY, {})
    for name, digest in digests.by_column.items():
        if written.get(name, digest) != digest:
            raise CorruptFile(
                f"{shard.path}: the values of {name!r} are not those that were written, or not in their order; {AGAIN}"
            )


def read_column(shard: Shard, column: str) -> Iterator[np.ndarray]:
    """One column of a shard of scores or masks, a chunk at a time."""
    for batch in _batches(shard, [column]):
        yield batch.column(column).to_numpy(zero_copy_only=False)


def _batches(shard: Shard, columns: list[str]) -> Iterator[pa.RecordBatch]:
    left, texts = shard.rows, [name for name in columns if name == "layer"]
    try:
        with pq.ParquetFile(shard.path, page_checksum_verification=True, read_dictionary=texts) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
                left -= len(batch)
                if left < 0 or any(column.null_count for column in batch.columns):
                    raise CorruptFile(f"{shard.path} has a row too many or without a value; {AGAIN}")
                yield batch
    except (FileNotFoundError, PermissionError) as error:
        raise _inaccessible(shard.path, error) from error
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(f"{shard.path} is truncated or damaged: {error}; {AGAIN}") from error
    if left:
        raise CorruptFile(f"{shard.path} holds {shard.rows - left} rows, not {shard.rows}; {AGAIN}")


def read_sample(shards: Shards, columns: Sequence[str], most: int) -> dict[str, np.ndarray]:
    """All rows in order if there are at most ``most``; else about as many, drawn at random, and the extremes.

    Columns of shape (rows,); the whole folder is read.
    """
    share = min(1.0, most / shards.rows)
    parts: list[dict[str, np.ndarray]] = []
    for shard in shards.files:
        draws = np.random.default_rng(derive_seed("sample of features", shard.start))
        for rows in read_rows(shard, shards.shapes, columns):
            chosen = draws.random(len(rows[columns[0]])) < share
            for column in rows.values():  # a surface must span all weights
                chosen[[column.argmin(), column.argmax()]] = True
            parts.append({name: column[chosen] for name, column in rows.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in columns}


def _check(batch: pa.RecordBatch, shapes: Shapes, rows: range, shard: Shard) -> None:
    layers, positions = batch.column("layer"), batch.column("position").to_numpy()
    codes = {name: code for code, name in enumerate(layers.dictionary.to_pylist())}
    indices, start = layers.indices.to_numpy(), 0
    for name, part in pieces(shapes, rows):
        here = slice(start, start := start + part.stop - part.start)
        starts = positions[here] - IN_ORDER[: here.stop - here.start]
        if (starts != part.start).any() or (indices[here] != codes.get(name, -1)).any():
            raise CorruptFile(
                f"{shard.path} does not hold its rows in the order of layers and positions "
                f"({name!r} from {part.start} on); {AGAIN}"
            )


def _inaccessible(path: Path, error: OSError) -> AutosparseError:
    reason = "not there" if isinstance(error, FileNotFoundError) else "not readable"
    return AutosparseError(
        f"{path} is {reason} on {platform.node()}: every node must see it; put the shards on a folder that all share"
    )


def _describe(path: Path) -> tuple[dict[str, Any], int, tuple[str, ...]]:
    """A shard's description, its number of rows, and its float32 columns."""
    try:
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    except (FileNotFoundError, PermissionError) as error:
        raise _inaccessible(path, error) from error
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(f"{path} is truncated or no Parquet file: {error}; {AGAIN}") from error
    held = metadata.metadata or {}
    text = held.get(KEYS["features"]) or held.get(SURVIVAL)
    if text is None or not {"layer", "position"} <= set(schema.names):
        raise CorruptFile(
            f"{path} is not a shard of autosparse (columns {schema.names}); give a folder that save_features or "
            "`autosparse irp` wrote"
        )
    try:
        content: dict[str, Any] = json.loads(text)
        check_description(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"{path} has damaged metadata; {AGAIN}") from error
    return content, metadata.num_rows, tuple(field.name for field in schema if field.type == pa.float32())
