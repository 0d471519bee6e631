"""Write rows of states as they are visited: a file for each IRP run, state and layer, then the manifest."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from autosparse.autos.states import Visit, states_of, visits
from autosparse.autos.streamed.shard import GROUP_ROWS, KEY, StateShard, columns_of, digested, require_key, whole_shard
from autosparse.criteria.by_features import InRounds
from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import canonical_json, read_record, write_atomic, write_record
from autosparse.irp import digests
from autosparse.irp.digests import Digests
from autosparse.irp.survival import Survival
from autosparse.version import __version__

MANIFEST, SHARDS = "rows.json", "rows-*.parquet"


def write_rows(
    survivals: Sequence[Survival],
    datasets: Mapping[str, Dataset],
    inputs: Sequence[str],
    how: InRounds,
    folder: str | Path,
    device: torch.device | str = "cpu",
    fingerprints: Sequence[str] | None = None,
) -> list[StateShard]:
    """Write the rows of all weights in all visited states of IRP runs to ``folder``, except for files already there.

    Columns of these Parquet files: ``layer`` (dictionary string), ``position`` (int64, flat index in the layer),
    ``run`` (int32, place in ``survivals``), ``iteration`` (int32, of the state), ``survived`` (int32, of the iterations
    after it), ``target`` (float32, their share), and the inputs by name (float32). Each file appears whole or not at
    all; its metadata say what made it, with a digest of each column. ``rows.json`` comes last. At most one layer's rows
    are in memory at a time.

    :param fingerprints: of the survival datasets, if they are known.
    :raises AutosparseError: if the folder holds rows of something else, or a network cannot be rebuilt.
    :raises CorruptFile: if a file there is truncated or damaged.
    """
    folder = Path(folder).absolute()
    require_ours(folder)
    schema = columns_of(inputs)
    fingerprints = fingerprints or [survival.fingerprint for survival in survivals]
    shards = shards_of(folder, survivals, fingerprints)
    key = {  # what rows depend on, as JSON values: those of another key are other rows
        "inputs": list(inputs),
        "steps": asdict(how.steps) if how.steps.count else None,
        "examples": how.examples,
        "runs": list(fingerprints),
        "code_version": __version__,
    }
    try:
        manifest = read_record(folder / MANIFEST)
    except FileNotFoundError:  # the rows are not all there yet
        manifest = None
    if manifest is not None:
        require_key(manifest["key"], key, folder)
    found = {shard.path.name: whole_shard(shard, key) for shard in shards}
    for run, survival in enumerate(survivals):
        left = [shard for shard in shards if shard.run == run and found[shard.path.name] is None]
        if not left:
            continue
        missing = {(shard.iteration, shard.layer): shard for shard in left}
        states = {shard.iteration for shard in left}
        for visit in visits(survival, datasets, inputs, how, lambda masks: 1.0, device, states.__contains__):
            if (shard := missing.get((visit.iteration, visit.layer))) is not None:
                found[shard.path.name] = _write(shard, visit, inputs, schema, key)
    content = {"key": key, "rows": sum(shard.rows for shard in shards), "shards": found}
    if manifest is None:
        for temporary in folder.glob(".rows-*.tmp"):
            temporary.unlink()  # of a process that was killed while it wrote
        write_record(folder / MANIFEST, content)
    elif manifest != content:
        raise CorruptFile(
            f"{folder / MANIFEST} does not list the files in its folder: delete the folder to make it again"
        )
    return shards


def require_ours(folder: Path) -> None:
    """Raise if ``folder`` exists but holds something other than rows of states."""
    if folder.exists() and not folder.is_dir():
        raise AutosparseError(f"{folder} is a file, but rows of states need a folder: choose another name")
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if not (path.name.startswith(".") or path.name == MANIFEST or path.match(SHARDS)):
            raise AutosparseError(
                f"{folder} holds {path.name!r}, which is not a file of rows: name a new folder for the rows"
            )


def shards_of(folder: Path, survivals: Sequence[Survival], fingerprints: Sequence[str]) -> list[StateShard]:
    """The files that a whole folder has, in the order in which they are written."""
    found = []
    for run, (survival, fingerprint) in enumerate(zip(survivals, fingerprints, strict=True)):
        for iteration in states_of(survival):
            for number, (layer, mask) in enumerate(survival.masks(iteration).items()):
                path = folder / f"rows-{run:03d}-{iteration:04d}-{number:04d}.parquet"
                found.append(StateShard(path, run, fingerprint, iteration, layer, int(mask.sum())))
    return found


def _write(
    shard: StateShard, visit: Visit, inputs: Sequence[str], schema: pa.Schema, key: dict[str, Any]
) -> dict[str, str]:
    """Write one file, and return the digests of its columns."""
    rows = len(visit.rows)
    layer = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([shard.layer], pa.string()))
    columns = {
        "position": visit.rows.numpy(),
        "run": np.full(rows, shard.run, np.int32),
        "iteration": np.full(rows, shard.iteration, np.int32),
        "survived": visit.survived.int().numpy(),
        "target": visit.target.numpy(),
        **{name: column.numpy() for name, column in zip(inputs, visit.columns, strict=True)},
    }
    found = Digests(digested(inputs))
    found.update(columns)
    described = {
        "key": key, "run": shard.run, "iteration": shard.iteration, "layer": shard.layer,
        digests.KEY: found.by_column,
    }  # fmt: skip
    table = pa.table([layer, *columns.values()], schema=schema.with_metadata({KEY: canonical_json(described)}))
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=GROUP_ROWS, write_page_checksum=True, write_statistics=False)
    write_atomic(shard.path, sink.getvalue())
    return found.by_column
