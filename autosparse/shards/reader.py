"""Reading shards: a folder's description, and the rows of one file in order. Errors name the file."""

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autosparse.errors import AutosparseError, CorruptFile, Unreachable
from autosparse.files import content_id
from autosparse.irp.digests import KEY, Digests, join
from autosparse.irp.parquet import KEY as SURVIVAL
from autosparse.irp.parquet import check_description, first_missing
from autosparse.seeds import derive_seed
from autosparse.shards.layout import PARTS, ROWS_AT_ONCE, Shapes, Shard, Shards, count_rows, pieces
from autosparse.shards.writer import KEYS
from autosparse.storage import Place, place_at

FOOTER, MAGIC = 1 << 16, b"PAR1"
"""The last bytes of a file, which usually hold the whole footer; and the mark that ends it."""
AGAIN = "make the shards again"
IN_ORDER = np.arange(ROWS_AT_ONCE)


def open_features(folder: str | Path) -> Shards:
    """Describe a folder of feature shards, or of survival shards, which hold the same features.

    Only the files' footers are read.

    :param folder: a folder, or an address in an object store.
    :raises CorruptFile: naming a file that is truncated, missing, foreign, or of another network.
    """
    place = place_at(folder)
    names = [name for name in place.names() if fnmatchcase(name, PARTS)]
    if not names:
        raise AutosparseError(
            f"no features in {place}: it holds no {PARTS}; write some with autosparse.shards.save_features, "
            "or give a survival dataset (`autosparse irp`)"
        )
    first, _, columns = _describe(place, names[0])
    read = list(place.each(lambda name: _footer(place, name), names))
    files, start = [], 0
    for name, footer in zip(names, read, strict=True):
        if footer.network != read[0].network:
            raise CorruptFile(f"{place}/{name} belongs to another network than {names[0]}; keep one per folder")
        files.append(Shard(place.address, name, start, footer.rows))
        start += footer.rows
    missing = first_missing({footer.number for footer in read}, first["shards"])
    if missing is not None:
        raise CorruptFile(f"{place} is not whole: part-{missing:05d}.parquet is missing; {AGAIN}")
    if len(names) != first["shards"]:
        raise CorruptFile(f"{place} is not whole: {names[-1]} is one too many; {AGAIN}")
    shapes = {name: tuple(shape) for name, shape in first["shapes"]}
    if start != count_rows(shapes):
        raise CorruptFile(f"{place} holds {start} rows for the weights {dict(shapes)}; {AGAIN}")
    bound = all(footer.bound for footer in read)
    return Shards(str(place), shapes, columns, first["provenance"], tuple(files), bound)


@dataclass(frozen=True)
class _Footer:
    """The few facts kept about each shard."""

    network: str
    """An id of all that the shards of one network have in common."""
    number: int
    rows: int
    bound: bool


def _footer(place: Place, name: str) -> _Footer:
    described, rows, columns = _describe(place, name)
    network = content_id([described["shapes"], described["provenance"], described["shards"], columns])
    return _Footer(network, described["shard"], rows, described.get(KEY, {}).keys() >= set(columns))


def source_digest(shard: Shard, columns: Sequence[str]) -> str | None:
    """The digest of ``columns`` as they were written, see :attr:`Digests.together`; None if the shard has none."""
    written = _describe(shard.place, shard.name)[0].get(KEY, {})
    return join({name: written[name] for name in columns}) if written.keys() >= set(columns) else None


def require_inputs(shards: Shards, inputs: Sequence[str]) -> None:
    """Raise if a scorer that reads ``inputs`` lacks a column."""
    for name in inputs:
        if name not in shards.columns:
            raise AutosparseError(
                f"the scorer reads {', '.join(inputs)}, but {shards.files[0]} has no float32 column {name!r} "
                f"(it has {', '.join(shards.columns) or 'none'}); fit a scorer with other --inputs"
            )


def read_rows(
    shard: Shard, shapes: Shapes, columns: Sequence[str], digests: Digests | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """The shard's columns, a chunk of at most ROWS_AT_ONCE rows at a time, in order.

    :param digests: of ``columns``; they are updated with every chunk.
    :raises CorruptFile: naming the file if a page does not match its checksum, a value is missing, or the rows are not
        those of the shard's place; after the last chunk also if a column is not the one that was written.
    """
    row, digests = shard.start, digests or Digests(columns)
    for batch in _batches(shard, ["layer", "position", *columns]):
        _check(batch, shapes, range(row, row + len(batch)), shard)
        row += len(batch)
        chunk = {name: batch.column(name).to_numpy() for name in columns}
        digests.update(chunk)
        yield chunk
    written = _describe(shard.place, shard.name)[0].get(KEY, {})
    for name, digest in digests.by_column.items():
        if written.get(name, digest) != digest:
            raise CorruptFile(
                f"{shard}: the values of {name!r} are not those that were written, or not in their order; {AGAIN}"
            )


def read_column(shard: Shard, column: str) -> Iterator[np.ndarray]:
    """One column of a shard of scores or masks, a chunk at a time."""
    for batch in _batches(shard, [column]):
        yield batch.column(column).to_numpy(zero_copy_only=False)


def read_description(scores: Shard) -> dict[str, Any]:
    """The description in the metadata of a shard of scores.

    :raises FileNotFoundError: if there is none.
    :raises CorruptFile: if it is damaged.
    """
    try:
        held = _metadata(scores.place, scores.name).metadata or {}
        content: dict[str, Any] = json.loads(held[KEYS["scores"]])
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{scores} is truncated or no shard of scores: {error}") from error
    return content


def _batches(shard: Shard, columns: list[str]) -> Iterator[pa.RecordBatch]:
    left = shard.rows
    how = {"page_checksum_verification": True, "read_dictionary": [name for name in columns if name == "layer"]}
    with (
        _refusing(f"{shard}", "truncated or damaged"),
        shard.place.bring(shard.name) as source,
        pq.ParquetFile(source, **how) as file,
    ):
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
            left -= len(batch)
            if left < 0 or any(column.null_count for column in batch.columns):
                raise CorruptFile(f"{shard} has one row too many, or a row without a value; {AGAIN}")
            yield batch
    if left:
        raise CorruptFile(f"{shard} holds {shard.rows - left} rows, not {shard.rows}; {AGAIN}")


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
                f"{shard} does not hold its rows in the order of layers and positions "
                f"({name!r} from {part.start} on); {AGAIN}"
            )


@contextlib.contextmanager
def _refusing(path: str, damage: str) -> Iterator[None]:
    """Turn a failure to read a shard into one line, which says whether it is out of reach or damaged."""
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        reason = "not there" if isinstance(error, FileNotFoundError) else "not readable"
        raise AutosparseError(
            f"{path} is {reason} on {platform.node()}: every node must see it; put the shards on a folder that all "
            "share, or on s3://"
        ) from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # damage has none
            reason = os.strerror(error.errno)
            raise Unreachable(
                f"cannot read {path}: {reason}; wait until its disk answers, and run the same command again"
            ) from error
        raise CorruptFile(f"{path} is {damage}: {error}; {AGAIN}") from error


def _describe(place: Place, name: str) -> tuple[dict[str, Any], int, tuple[str, ...]]:
    """A shard's description, its number of rows, and its float32 columns."""
    path = f"{place}/{name}"
    with _refusing(path, "truncated or no Parquet file"):
        metadata = _metadata(place, name)
        schema = metadata.schema.to_arrow_schema()
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


def _metadata(place: Place, name: str) -> pq.FileMetaData:
    """The footer, without the rows before it."""
    end = place.read_part(name, -FOOTER, FOOTER)
    needed = int.from_bytes(end[-8:-4], "little") + 8
    if needed > len(end) == FOOTER and end.endswith(MAGIC):
        end = place.read_part(name, -needed, needed)
    return pq.read_metadata(pa.BufferReader(end))
