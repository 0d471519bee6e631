"""Segments: files that each hold the records of thousands of finished cells, so that a scan reads a few large files.

``segments/<SHA-256 of the file>.jsonl``. The first line says how many records follow. Then each record is one line with
four fields, separated by tabs:

    SHA-256 of the rest   id   what a scan needs to know of it, as JSON   the record, as in ``cells/<id>.json``

A segment is written once and read back before anything relies on it. If its name is not its checksum, each line is
checked by its own, and the damaged ones do not count.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from autosparse.errors import AutosparseError
from autosparse.experiment.lineage import Made, made_by
from autosparse.experiment.record import Json, Record, content_of, reading, unpacked
from autosparse.files import content_id, unpack_record
from autosparse.storage import Place

SUFFIX = ".jsonl"
APART = ("seed", "sparsity")
"""Values that every cell has to give, so that no default stands behind them."""


class Row(NamedTuple):
    """Where a record lies, and what a scan needs to know of it."""

    segment: str
    start: int
    length: int
    """Bytes of the record, without the rest of its line."""
    ended_ms: int
    terms: str
    """See :func:`terms_of`."""
    made: Made
    built_on: dict[str, str] | None
    """What the record says of it; None if it says nothing, as in version 0.1.0."""


def terms_of(record: Record) -> str:
    """A hash of everything in a cell's record that decides whether its values are still today's.

    Cells that differ only in the fields in APART have the same terms, and stand or fall together.
    """
    parts: list[Json] = [record["spec"], record.get("resolved", {})]
    given = [{name: value for name, value in part.items() if name not in APART} for part in parts]
    layers = record.get("result", {}).get("density_by_layer")
    return content_id([*given, "resolved" in record, None if layers is None else sorted(layers)])


def line_of(record: Record, packed: bytes) -> bytes:
    """The line of a record.

    :param packed: what :func:`autosparse.files.pack_record` makes of it.
    """
    made = made_by(record)
    head = [record["ended_ms"], terms_of(record), *made, record.get("built_on")]
    whole = json.dumps(json.loads(packed), separators=(",", ":"), allow_nan=False)
    rest = f"{record['id']}\t{json.dumps(head, separators=(',', ':'))}\t{whole}".encode()
    return hashlib.sha256(rest).hexdigest().encode() + b"\t" + rest + b"\n"


def segment_of(lines: Collection[bytes]) -> tuple[str, bytes]:
    """The name and the content of a segment."""
    data = b"".join([json.dumps({"records": len(lines)}).encode() + b"\n", *lines])
    return f"{hashlib.sha256(data).hexdigest()}{SUFFIX}", data


class Segments:
    """The segments at a place, and an index of their records.

    If several hold a cell, the record that ended last counts.
    """

    def __init__(self, place: Place):
        self.place = place
        self.rows: dict[str, Row] = {}
        """By the id of the cell, as last read."""
        self.damaged: set[str] = set()
        """Names of segments with lines that do not count."""
        self.doubled = False
        """Whether several segments hold the same cell."""
        self._stamps: Mapping[str, int] | None = None
        self._codes: dict[str, dict[str, str]] = {}

    def known(self) -> Mapping[str, Row]:
        """The index, read from the segments only once."""
        return self.rows if self._stamps is not None else self.look()

    def look(self) -> Mapping[str, Row]:
        """The index, after reading the segments that are new or have changed.

        :raises Unreachable: if the place does not answer.
        """
        with reading(self.place):
            stamps = {name: stamp for name, stamp in self.place.stamps().items() if name.endswith(SUFFIX)}
        before = self._stamps or {}
        lost = {name for name, stamp in before.items() if stamps.get(name) != stamp}
        if lost and self.doubled:  # a row may have hidden an older one
            self._stamps = None  # if the reading fails, the next look begins anew
            before, self.rows, self.doubled = {}, {}, False
        elif lost:
            self.rows = {task_id: row for task_id, row in self.rows.items() if row.segment not in lost}
        for name in sorted(stamps.keys() - (before.keys() - lost)):
            self._read_in(name)
        self._stamps, self.damaged = stamps, self.damaged & stamps.keys()
        return self.rows

    def record(self, task_id: str) -> Json | None:
        """The content of a gathered record; None if it is missing or damaged."""
        row = self.known().get(task_id)
        if row is None:
            return None
        with reading(self.place, row.segment):
            try:
                return unpacked(self.place.read_part(row.segment, row.start, row.length))
            except FileNotFoundError:
                return None

    @property
    def names(self) -> list[str]:
        """The names of all segments, as last listed."""
        return sorted(self._stamps or ())

    def lines(self, name: str) -> dict[str, bytes]:
        """The whole lines of a segment, by the ids of their cells."""
        return {line.task_id: line.text + b"\n" for line in self._whole_lines(name)}

    def add(self, lines: Collection[bytes]) -> str:
        """Write a segment, read it back, and return its name.

        :raises AutosparseError: if what is read is not what was written.
        """
        name, data = segment_of(lines)
        self.place.write(name, data)
        whole = content_of(self.place, name) == data
        if not whole or sum(_is_record(data, line) for line in self._whole_lines(name)) != len(lines):
            raise AutosparseError(
                f"{self.place}/{name} is not what was written there, and nothing was removed: check the disk, try again"
            )
        return name

    def replace(self, name: str, lines: Collection[bytes]) -> None:
        """Put these lines in the place of the segment ``name``; without lines, remove it.

        :raises AutosparseError: if what is read back is not what was written; the segment is then still there.
        """
        if not lines or self.add(lines) != name:  # the same lines have the same name
            self.place.remove(name)

    def _read_in(self, name: str) -> None:
        for line in self._whole_lines(name):
            ended_ms, terms, fingerprint, data, code, built_on = json.loads(line.head)
            made = Made(fingerprint, sys.intern(data), self._codes.setdefault(str(code), code))
            row = Row(name, line.start, line.length, ended_ms, sys.intern(terms), made, built_on)
            other = self.rows.get(line.task_id)
            self.doubled |= other is not None and other.segment != name
            if other is None or other.ended_ms <= ended_ms:
                self.rows[line.task_id] = row

    def _whole_lines(self, name: str) -> Iterator["_Line"]:
        """The lines of a segment that are whole; warn, in one line, if that is not all of them."""
        data = content_of(self.place, name)
        if data is None:
            return
        sure = f"{hashlib.sha256(data).hexdigest()}{SUFFIX}" == name
        first, *texts = data.split(b"\n")
        start, count = len(first) + 1, 0
        for text in texts:
            if line := _line_from(text, start, sure):
                count += 1
                yield line
            start += len(text) + 1
        if sure:
            self.damaged.discard(name)
        else:
            self.damaged.add(name)
            logging.getLogger(__name__).warning(
                "%s/%s is damaged: %d %srecords are whole, and cells without one are done again; "
                "`autosparse storage gather` writes it anew", self.place, name, count, _of(first),
            )  # fmt: skip


class _Line(NamedTuple):
    """A line of a segment."""

    text: bytes
    task_id: str
    head: bytes
    start: int
    """Where in the file the record begins."""
    length: int


def _line_from(text: bytes, start: int, sure: bool) -> _Line | None:
    """The line that begins at ``start``; None if it is damaged.

    :param sure: whether the whole file is known to be what was written.
    """
    parts = text.split(b"\t", 3)
    if len(parts) < 4 or not (sure or hashlib.sha256(text[len(parts[0]) + 1 :]).hexdigest().encode() == parts[0]):
        return None
    _, task_id, head, record = parts
    return _Line(text, task_id.decode(), head, start + len(text) - len(record), len(record))


def _is_record(data: bytes, line: _Line) -> bool:
    record = unpack_record(data[line.start : line.start + line.length], "a segment")
    return bool(record["id"] == line.task_id)


def _of(first: bytes) -> str:
    """``of 10,000``, by the first line of a segment; empty if that is damaged."""
    try:
        return f"of {int(json.loads(first)['records']):,} "
    except (ValueError, KeyError, TypeError):
        return ""
