"""The Parquet file of an experiment's finished cells: a column for each tag, param and metric.

Its footer has a checksum of all that precedes it, because columns are decoded only when they are asked for: damage must
be found at once, while something else can still be read instead.
"""

import io
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autosparse.results.columns import WORDS, Tabled

MOST = 1 << 33
"""Most bytes of a file that are read, packed or as columns: those of eight million cells. A larger file is not ours."""
MOST_OF_COLUMN = (1 << 31) - 1
"""Most bytes of texts in a column: those that Arrow can hold in one piece."""
CHECKSUM = b"autosparse.crc32"
"""The key of the checksum in the footer."""
ROWS = 1 << 16
"""Number of cells in a row group, in which a column is packed by itself."""
END = 8
"""Bytes at the end of a Parquet file: the length of the footer, and a mark."""


def write_cells(table: pa.Table, path: Path) -> None:
    """Write a table of :func:`autosparse.results.columns.table_of`.

    Texts that mostly differ from row to row are written as they are. Other texts, and metrics that have few values, are
    written as a dictionary and a number for each row.
    """
    columns = {name: _packed(table.column(name)) for name in table.column_names}
    repeated = [name for name, column in columns.items() if _repeats(column)]
    sink = io.BytesIO()
    packed = pa.table(columns)
    with pq.ParquetWriter(
        sink, packed.schema, use_dictionary=repeated, compression="zstd", write_statistics=False
    ) as writer:
        writer.write_table(packed, row_group_size=ROWS)
        writer.add_key_value_metadata({CHECKSUM: str(zlib.crc32(sink.getbuffer()))})
    path.write_bytes(sink.getbuffer())


def read_cells(path: Path) -> Tabled:
    """The cells of a file, which may be deleted afterwards; its columns are decoded when they are asked for.

    :raises Exception: of any kind if the file is missing, damaged, or too large.
    """
    if path.stat().st_size > MOST:
        raise ValueError(f"{path} is larger than a table of cells can be")
    content = path.read_bytes()
    file = pq.ParquetFile(pa.BufferReader(content))
    held = file.metadata
    groups = [held.row_group(number) for number in range(held.num_row_groups)]
    sizes = [sum(group.column(i).total_uncompressed_size for group in groups) for i in range(held.num_columns)]
    if max(sum(sizes), held.num_rows * held.num_columns * 8) > MOST or max(sizes, default=0) > MOST_OF_COLUMN:
        raise ValueError(f"{path} unpacks to more than a table of cells can be")
    footer = len(content) - END - int.from_bytes(content[-END : -END // 2], "little")
    if int(held.metadata[CHECKSUM]) != zlib.crc32(memoryview(content)[:footer]):
        raise ValueError(f"{path} is damaged")
    return Tabled(file)


def _packed(column: Any) -> Any:
    """A column as it is written: not as a dictionary if most of its texts are different."""
    if column.type != WORDS:
        return column
    column = column.unify_dictionaries()
    words = len(column.chunk(0).dictionary) if column.num_chunks else 0
    return column if words <= len(column) // 4 else column.cast(pa.string())


def _repeats(column: Any) -> bool:
    """Whether a column has few different values; for numbers, a sample decides."""
    if not pa.types.is_floating(column.type):
        return bool(pa.types.is_dictionary(column.type))
    sample = column.slice(0, ROWS)
    return bool(pc.count_distinct(sample).as_py() <= len(sample) // 4)
