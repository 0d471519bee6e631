"""A file of rows of states: its columns, and what its footer says of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autosparse.errors import AutosparseError, CorruptFile, first_line
from autosparse.irp import digests

KEY = b"autosparse.states"
COORDINATES = {"run": pa.int32(), "iteration": pa.int32(), "survived": pa.int32(), "target": pa.float32()}
"""Columns between ``layer`` and ``position`` and the inputs."""
GROUP_ROWS = 1 << 14
"""Rows of a row group: few enough that a shuffle of groups mixes layers and states well."""
AGAIN = "delete it, and the same command makes it again"


@dataclass(frozen=True)
class StateShard:
    """One file: the weights of one layer that IRP had left after an iteration."""

    path: Path
    run: int
    """Number of the IRP run in the fit, from 0."""
    fingerprint: str
    """The fingerprint of the run's survival dataset."""
    iteration: int
    layer: str
    rows: int

    @property
    def groups(self) -> int:
        """Number of row groups."""
        return -(-self.rows // GROUP_ROWS)


def columns_of(inputs: Sequence[str]) -> pa.Schema:
    """The columns of a shard.

    :raises AutosparseError: if an input has the name of another column.
    """
    for name in inputs:
        if name in ("layer", "position", *COORDINATES):
            raise AutosparseError(f"input {name!r} has the name of another column of rows on disk: rename the feature")
    where = [("layer", pa.dictionary(pa.int32(), pa.string())), ("position", pa.int64()), *COORDINATES.items()]
    return pa.schema([*where, *((name, pa.float32()) for name in inputs)])


def digested(inputs: Sequence[str]) -> tuple[str, ...]:
    """The columns of numbers, of which each shard has a digest."""
    return ("position", *COORDINATES, *inputs)


def whole_shard(shard: StateShard, key: Mapping[str, Any]) -> dict[str, str] | None:
    """The digests of a shard's columns; None if it is not there. Only its footer is read.

    :raises AutosparseError: if it was made for something else.
    :raises CorruptFile: if it is truncated, or not the shard that its name says.
    """
    described = described_rows(shard.path)
    if described is None:
        return None
    require_key(described["key"], key, shard.path.parent)
    expected = [shard.run, shard.iteration, shard.layer, shard.rows]
    if [described[name] for name in ("run", "iteration", "layer", "rows")] != expected:
        raise CorruptFile(f"{shard.path} holds rows of another layer or state; {AGAIN}")
    found: dict[str, str] = described[digests.KEY]
    return found


def described_rows(path: Path) -> dict[str, Any] | None:
    """The description in a shard's footer, and its number of ``rows``; None if there is no such file."""
    try:
        metadata = pq.read_metadata(path)
        content: dict[str, Any] = json.loads((metadata.metadata or {})[KEY])
        content["key"]["runs"], content["run"], content["iteration"], content["layer"]
        content[digests.KEY].items()
        return {**content, "rows": metadata.num_rows}
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(f"{path} is truncated or no Parquet file: {first_line(error)}; {AGAIN}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"{path} is not a file of rows of states; {AGAIN}") from error


def require_key(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Raise if rows were made for something other than ``wanted``, and say what differs."""
    cure = "name another folder, or delete this one"
    if found.get("runs") != wanted["runs"]:
        raise AutosparseError(f"{folder} holds rows of other IRP runs than this fit learns from: {cure}")
    names = {
        "inputs": "inputs",
        "steps": "steps of training",
        "examples": "examples",
        "code_version": "autosparse version",
    }
    for name, text in names.items():
        if found.get(name) != wanted[name]:
            before, now = (_shown(values.get(name)) for values in (found, wanted))
            raise AutosparseError(f"{folder} holds rows made with {text} {before}, but this fit needs {now}: {cure}")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in sorted(value.items()))
    return ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)
