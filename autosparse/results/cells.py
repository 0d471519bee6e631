"""Cells as columns, which are counted and averaged; :class:`Run` objects are made only if somebody asks for them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autosparse.results.columns import BATCH, METRIC, PARAM, TAG, Listed, Source, encoded, values_of
from autosparse.results.runs import Run

MOST_CODES = 1 << 62
"""Numbers for combinations of values stay below this, so that they fit into 64 bits."""


class Numbers(NamedTuple):
    """A metric of each cell."""

    values: np.ndarray
    """float64; NaN also if a cell lacks the metric."""
    there: np.ndarray
    """Whether a cell has it."""


class Cells:
    """Cells of one or several sources, in any order.

    :param rows: which cells, by their number in all sources, one after the other; None: all.
    """

    def __init__(self, sources: Sequence[Source], rows: np.ndarray | None = None):
        self._sources = sources
        self._rows = np.arange(sum(map(len, sources))) if rows is None else rows
        self._numbers: dict[str, Numbers] = {}

    @classmethod
    def of(cls, runs: Iterable[Run]) -> "Cells":
        """Runs as cells; cells as they are."""
        return runs if isinstance(runs, Cells) else cls([Listed(list(runs))])

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Run]:
        for start in range(0, len(self), BATCH):
            yield from self.runs(np.arange(start, min(start + BATCH, len(self))))

    def runs(self, at: np.ndarray) -> list[Run]:
        """The cells at these places."""
        rows, start = self._rows[at], 0
        found: dict[int, Run] = {}
        for source in self._sources:
            ours = rows[(rows >= start) & (rows < start + len(source))]
            if len(ours):
                found |= zip(ours.tolist(), source.runs(ours - start), strict=True)
            start += len(source)
        return [found[row] for row in rows.tolist()]

    def joined(self, others: Iterable[Run]) -> "Cells":
        """Append other cells to these."""
        more = Cells.of(others)
        offset = sum(map(len, self._sources))
        return Cells([*self._sources, *more._sources], np.concatenate([self._rows, more._rows + offset]))

    def without(self, run_ids: Collection[str]) -> "Cells":
        """The cells that are not among ``run_ids``."""
        found = pc.is_in(self._column("run_id"), value_set=pa.array(sorted(run_ids), pa.string()))
        return Cells(self._sources, self._rows[~found.to_numpy(zero_copy_only=False)[self._rows]])

    def by_start(self) -> "Cells":
        """The cells in the order in which they began; those that began at the same time stay in their order."""
        started = pc.fill_null(self._column("start"), 0).to_numpy()[self._rows]
        return Cells(self._sources, self._rows[np.argsort(started, kind="stable")])

    def one_per_task(self) -> "Cells":
        """The last cell of each task, at the place of its first: :func:`autosparse.results.runs.one_per_task`."""
        tasks = self._column(f"{TAG}task_id")
        if tasks.null_count:
            tasks = pc.coalesce(tasks.cast(pa.string()), self._column("run_id"))
        codes = encoded(tasks).indices.to_numpy()[self._rows]
        codes, first = _numbered(codes)
        last = np.empty_like(first)
        last[codes] = np.arange(len(codes))
        return self if len(first) == len(self) else Cells(self._sources, self._rows[last])

    @property
    def last_end(self) -> int:
        """The time at which the last of the cells ended, in milliseconds since 1970."""
        ended = pc.fill_null(self._column("end"), 0).to_numpy()[self._rows]
        return int(ended.max())

    def run_ids(self, at: np.ndarray) -> list[str]:
        """The ids of the runs of the cells at these places."""
        return list(self._column("run_id").take(pa.array(self._rows[at])).to_pylist())

    def tag(self, name: str) -> tuple[np.ndarray, list[str | None]]:
        """A tag of each cell as a number, and the texts that the numbers stand for; None if a cell lacks the tag."""
        column = encoded(self._column(f"{TAG}{name}"))
        numbers, first = _numbered(_codes(column)[self._rows])
        return numbers, values_of(column, self._rows[first])

    def alike(self, tags: Iterable[str], without_params: Collection[str]) -> tuple[np.ndarray, list[Run]]:
        """A number for each cell; cells share it if they have the same of these tags and the same other params.

        Numbers ascend in the order of the first cells that have them.

        :return: also, for each number, a run that has these tags and params alone.
        """
        named = dict.fromkeys(name for source in self._sources for name in source.names if name.startswith(PARAM))
        params = [name for name in named if name.removeprefix(PARAM) not in without_params]
        names = [*(f"{TAG}{name}" for name in tags), *params]
        columns = [encoded(column) for column in self._columns(names)]
        codes, count = np.zeros(len(self), np.int64), 1
        for column in columns:
            values = len(column.dictionary) + 1
            if values > 2 or column.null_count:
                if count * values >= MOST_CODES:
                    codes, first = _numbered(codes)
                    count = len(first)
                codes = codes * values + _codes(column)[self._rows] + 1
                count *= values
        codes, first = _numbered(codes)
        kinds = [Run("", "", {}, {}, {}) for _ in first]
        for name, column in zip(names, columns, strict=True):
            kind, _, key = name.partition(".")
            for run, value in zip(kinds, values_of(column, self._rows[first]), strict=True):
                if value is not None:
                    (run.tags if kind == "tag" else run.params)[key] = value
        return codes, kinds

    def metric(self, name: str) -> Numbers:
        """A metric of each cell."""
        if name not in self._numbers:
            column = self._column(f"{METRIC}{name}")
            there = pc.is_valid(column).to_numpy(zero_copy_only=False)
            values = pc.fill_null(column, float("nan")).to_numpy(zero_copy_only=False)
            self._numbers[name] = Numbers(values[self._rows], there[self._rows])
        return self._numbers[name]

    def metrics(self, at: np.ndarray) -> list[str]:
        """The metrics that any cell at these places has, ordered by the first of these cells that has each."""
        named = dict.fromkeys(name for source in self._sources for name in source.names if name.startswith(METRIC))
        first = {}
        for name in (name.removeprefix(METRIC) for name in named):
            there = self.metric(name).there[at]
            if there.any():
                first[name] = int(there.argmax())
        return sorted(first, key=first.__getitem__)

    def _column(self, name: str) -> Any:
        """A column of all sources, in the order of the sources."""
        (column,) = self._columns([name])
        return column

    def _columns(self, names: Sequence[str]) -> list[Any]:
        parts = zip(*(source.columns(names) for source in self._sources), strict=True)
        return [pa.chunked_array([c for part in of for c in _chunks(part)], of[0].type) for of in parts]


def _chunks(column: Any) -> list[Any]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _codes(column: Any) -> np.ndarray:
    """The numbers of a column of WORDS; -1 for null."""
    found: np.ndarray = column.indices.fill_null(-1).to_numpy()
    return found


def _numbered(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from 0 in the order in which the codes first occur, and the place where each does."""
    numbers = pa.array(codes).dictionary_encode().indices.to_numpy().copy()
    first = np.empty(int(numbers.max(initial=-1)) + 1, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    return numbers, first
