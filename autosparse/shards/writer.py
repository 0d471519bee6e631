"""Writing one shard, chunk by chunk: it appears whole or not at all."""

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autosparse.files import canonical_json, refusing_unwritable, sync_folder
from autosparse.irp.digests import KEY, Digests
from autosparse.shards.layout import Shapes, coordinates

KEYS = {kind: f"autosparse.{kind}".encode() for kind in ("features", "scores", "masks")}
"""Key of the description in a file's metadata."""
COLUMNS = [("layer", pa.dictionary(pa.int32(), pa.string())), ("position", pa.int64())]
STORED = {"compression": "none", "use_dictionary": ["layer"], "write_statistics": False, "write_page_checksum": True}


class ShardWriter:
    """Writes a network's weights from row ``start`` on to ``path``; a context manager.

    Pages have checksums, floats are stored as they are. The file has a temporary name until the block ends without
    error. Then its metadata get the description, with ``digests`` of its columns and a ``digest`` of all of them
    (:class:`autosparse.irp.digests.Digests`), and the file is synced and renamed.

    :param columns: names and types.
    :param shapes: of the whole network; if given, the rows' ``layer`` (dictionary string) and ``position`` (int64,
        flat index in the layer) stand before the other columns, run-length and delta encoded, which costs next to
        nothing.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        columns: dict[str, pa.DataType],
        description: dict[str, Any],
        start: int = 0,
        shapes: Shapes | None = None,
    ):
        self.path, self.kind, self.columns, self.description = path, kind, columns, description
        self.row, self.shapes = start, shapes
        self.temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        self.schema = pa.schema([*(COLUMNS if shapes else []), *columns.items()])
        self.digests = Digests(columns)
        with refusing_unwritable(path):
            encoding = {"position": "DELTA_BINARY_PACKED"} if shapes else None
            self.writer = pq.ParquetWriter(self.temporary, self.schema, column_encoding=encoding, **STORED)

    def append(self, columns: dict[str, np.ndarray]) -> None:
        """Write a row group of the next rows: one array of shape (rows,) per column."""
        values = [np.ascontiguousarray(columns[name]) for name in self.columns]
        self.digests.update(dict(zip(self.columns, values, strict=True)))
        rows = range(self.row, self.row + len(values[0]))
        where = label_rows(self.shapes, rows) if self.shapes else []
        with refusing_unwritable(self.path):
            self.writer.write_table(pa.table([*where, *values], schema=self.schema))
        self.row = rows.stop

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            with refusing_unwritable(self.path):
                if kind is None:
                    described = {**self.description, KEY: self.digests.by_column, "digest": self.digests.together}
                    self.writer.add_key_value_metadata({KEYS[self.kind]: canonical_json(described)})
                self.writer.close()
                if kind is None:
                    with self.temporary.open("rb") as handle:
                        os.fsync(handle.fileno())
                    self.temporary.replace(self.path)
                    sync_folder(self.path.parent)
        finally:
            self.temporary.unlink(missing_ok=True)


def label_rows(shapes: Shapes, rows: range) -> list[pa.Array | np.ndarray]:
    """The columns ``layer`` and ``position`` of ``rows``."""
    layers, positions = coordinates(shapes, rows)
    return [pa.DictionaryArray.from_arrays(layers, pa.array(list(shapes), pa.string())), positions]
