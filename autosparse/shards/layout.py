"""How the weights of a network lie in shards: layer after layer, each by its flat index."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autosparse.irp.survival import mode_in
from autosparse.storage import Place, place_at

Shapes = dict[str, tuple[int, ...]]
"""Weight name -> shape, in the order of the model."""

PARTS = "part-*.parquet"
"""Names of the files with features."""
ROWS_AT_ONCE = 1 << 18
"""Rows of a row group, and rows that are read, scored and written at a time."""
SHARD_ROWS = 1 << 23
"""Rows of a shard: 64 MiB of param and grad."""


@dataclass(frozen=True)
class Shard:
    """One file, and which rows of the network it holds."""

    folder: str
    """A path, or an address in an object store."""
    name: str
    start: int
    rows: int

    def __str__(self) -> str:
        return f"{self.place}/{self.name}"

    @property
    def place(self) -> Place:
        """Where the file lies."""
        return place_at(self.folder)

    def as_in(self, folder: str, kind: str) -> "Shard":
        """The same rows in the file of another kind, ``KIND-NUMBER.parquet``."""
        return replace(self, folder=folder, name=f"{kind}-{self.name.rpartition('-')[2]}")


@dataclass(frozen=True)
class Shards:
    """The description of a folder of shards."""

    folder: str
    """Where they lie, for people."""
    shapes: Shapes
    columns: tuple[str, ...]
    """Names of the columns besides ``layer`` and ``position``."""
    provenance: dict[str, Any]
    files: tuple[Shard, ...]
    """In order."""
    bound: bool = True
    """Whether each file has digests of its columns, so that a permuted or exchanged file is noticed."""

    @property
    def rows(self) -> int:
        """Number of weights."""
        return count_rows(self.shapes)

    @property
    def gradient_mode(self) -> str:
        """The mode, ``train`` or ``eval``, in which the gradients were taken."""
        return mode_in(self.provenance)


def count_rows(shapes: Shapes) -> int:
    """Number of weights of these shapes."""
    return sum(map(math.prod, shapes.values()))


def split_rows(rows: range, most: int = ROWS_AT_ONCE) -> list[range]:
    """``rows`` in pieces of at most ``most``; there is at least one."""
    return [rows[start : start + most] for start in range(0, max(len(rows), 1), most)]


def pieces(shapes: Shapes, rows: range) -> Iterator[tuple[str, slice]]:
    """The parts of layers that make up ``rows``: names, and slices of their flat weights."""
    start = 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        part = slice(max(rows.start, start) - start, min(rows.stop, stop) - start)
        if part.start < part.stop:
            yield name, part
        start = stop


def coordinates(shapes: Shapes, rows: range) -> tuple[np.ndarray, np.ndarray]:
    """``layer``, an int32 index into ``shapes``, and ``position``, int64, of ``rows``; both of shape (len(rows),)."""
    index = {name: number for number, name in enumerate(shapes)}
    layers, positions = np.empty(len(rows), np.int32), np.empty(len(rows), np.int64)
    start = 0
    for name, part in pieces(shapes, rows):
        stop = start + part.stop - part.start
        layers[start:stop] = index[name]
        positions[start:stop] = np.arange(part.start, part.stop)
        start = stop
    return layers, positions
