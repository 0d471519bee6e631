"""Runs as columns: one for each tag, param and metric, made or decoded when it is asked for.

A column is named ``tag.NAME``, ``param.NAME`` or ``metric.NAME``, or it is one of ``FIXED``. A run that lacks a tag,
param or metric has null there, which is not the same as an empty text or NaN.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autosparse.results.runs import Run

TAG, PARAM, METRIC = "tag.", "param.", "metric."
FIXED = {"run_id": pa.string(), "name": pa.string(), "start": pa.int64(), "end": pa.int64()}
"""The columns that every run has, and their types."""
WORDS = pa.dictionary(pa.int32(), pa.string())
"""The type of a column of tags or params: each text once, and a number for each run."""
NUMBERS = pa.float64()
"""The type of a column of metrics."""
BATCH = 10_000
"""Number of runs that are turned into columns at a time."""


class Listed:
    """A source that has the runs themselves."""

    def __init__(self, runs: Sequence[Run]):
        self._runs = runs

    def __len__(self) -> int:
        return len(self._runs)

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of the columns, in the order in which runs first have them."""
        of_kind = {
            TAG: dict.fromkeys(name for run in self._runs for name in run.tags),
            PARAM: dict.fromkeys(name for run in self._runs for name in run.params),
            METRIC: dict.fromkeys(name for run in self._runs for name in run.metrics),
        }
        return *FIXED, *(f"{kind}{name}" for kind, found in of_kind.items() for name in found)

    def columns(self, names: Sequence[str]) -> list[Any]:
        """Arrow arrays, in one chunk or several, of the type in ``FIXED``, WORDS, or NUMBERS.

        A column that the source lacks is all nulls.
        """
        return [self._column(name) for name in names]

    def _column(self, column: str) -> Any:
        if column in FIXED:
            return pa.array([getattr(run, column) for run in self._runs], FIXED[column])
        kind, _, name = column.partition(".")
        if kind == "metric":
            return pa.array([run.metrics.get(name) for run in self._runs], NUMBERS)
        return encoded(pa.array([getattr(run, f"{kind}s").get(name) for run in self._runs], pa.string()))

    def runs(self, rows: np.ndarray) -> list[Run]:
        """The runs with these numbers."""
        return [self._runs[row] for row in rows.tolist()]


class Tabled:
    """A source that has a Parquet file, of which it decodes, and keeps, the columns that are asked for.

    :param file: a ``pyarrow.parquet.ParquetFile``.
    """

    def __init__(self, file: Any):
        self._file = file
        self._decoded: dict[str, Any] = {}
        self.names: Sequence[str] = tuple(file.schema_arrow.names)

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def columns(self, names: Sequence[str]) -> list[Any]:
        """See :meth:`Listed.columns`."""
        there = set(self.names)
        if missing := [name for name in dict.fromkeys(names) if name in there and name not in self._decoded]:
            table = self._file.read(columns=missing)
            for name in missing:
                column = table.column(name)
                self._decoded[name] = encoded(column) if _type(name) is WORDS else column.cast(_type(name))
        return [self._decoded[name] if name in there else pa.nulls(len(self), _type(name)) for name in names]

    def runs(self, rows: np.ndarray) -> list[Run]:
        """The runs with these numbers."""
        columns = zip(self.names, self.columns(self.names), strict=True)
        values = {name: values_of(column, rows) for name, column in columns}
        of_kind: dict[str, list[dict[str, Any]]] = {kind: [{} for _ in rows] for kind in (TAG, PARAM, METRIC)}
        for column, found in values.items():
            kind, dot, name = column.partition(".")
            if f"{kind}{dot}" in of_kind:
                for held, value in zip(of_kind[f"{kind}{dot}"], found, strict=True):
                    if value is not None:
                        held[name] = value
        run_ids, names, starts, ends = (values[name] for name in FIXED)
        return [Run(*of_run) for of_run in zip(run_ids, names, *of_kind.values(), starts, ends, strict=True)]


Source = Listed | Tabled
"""Runs that can be asked for by column and by number."""


def table_of(runs: Iterable[Run]) -> Any:
    """An Arrow table of runs, from which :class:`Tabled` makes equal ones."""
    listed = Listed(list(runs))
    return pa.table(dict(zip(listed.names, listed.columns(listed.names), strict=True)))


def encoded(texts: Any) -> Any:
    """Texts of a column as WORDS, in one chunk."""
    found = texts if pa.types.is_dictionary(texts.type) else pc.dictionary_encode(texts)
    if isinstance(found, pa.ChunkedArray):
        found = found.unify_dictionaries().combine_chunks()
    return found if found.type == WORDS else found.cast(WORDS)


def _type(name: str) -> Any:
    return FIXED.get(name, NUMBERS if name.startswith(METRIC) else WORDS)


def values_of(column: Any, rows: np.ndarray) -> list[Any]:
    """Python's values of some rows of a column; texts that are the same are one object."""
    if column.type != WORDS:
        return list(column.take(pa.array(rows)).to_pylist())
    codes = column.indices.take(pa.array(rows)).fill_null(-1).to_numpy()
    used, where = np.unique(codes, return_inverse=True)
    words = column.dictionary.take(pa.array(used, mask=used < 0)).to_pylist()
    return [words[i] for i in where.tolist()]
