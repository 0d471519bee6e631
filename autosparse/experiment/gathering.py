"""Gather the records of finished cells in segments, and give them files of their own again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autosparse.experiment.record import Json, content_of, reading, record_from, unpacked
from autosparse.experiment.segments import Segments, line_of
from autosparse.experiment.store import FOLDERS, Store
from autosparse.experiment.tasks import Cell
from autosparse.files import pack_record, unpack_record
from autosparse.storage import Place

RECORDS = 10_000
"""Most records of a segment."""
BYTES = 1 << 26
"""Size in bytes at which a segment is full."""
AT_ONCE = 500
"""Records that are read before the segment's size is looked at."""


@dataclass
class Gathered:
    """What was gathered."""

    records: int = 0
    segments: int = 0
    left: int = 0
    """Files in ``cells/`` that hold no whole record of a cell; they stay."""
    mended: int = 0
    """Damaged segments that were written anew."""


class _Loose(NamedTuple):
    """A record with a file of its own."""

    name: str
    stamp: int | None
    task_id: str
    line: bytes


def gather(store: Store) -> Gathered:
    """Move the records in ``cells/`` into segments, and rewrite damaged segments from their whole lines.

    A file is removed only after its segment has been written and read back, so it can be interrupted anywhere: a
    record that is in both places then counts once. The caller holds :meth:`Store.one_driver`.
    """
    segments, cells = store.segments, store.place.within(FOLDERS[Cell.kind])
    assert segments, "a worker's store"
    segments.look()
    done = Gathered(mended=_mend(segments))
    batch: list[_Loose] = []
    names = [name for name in cells.names() if name.endswith(".json")]
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        found = [loose for loose in cells.each(lambda name: _read(cells, name), some) if loose]
        done.left += len(some) - len(found)
        batch += found
        if len(batch) + AT_ONCE > RECORDS or sum(len(loose.line) for loose in batch) > BYTES:
            _move(store, segments, cells, batch, done)
            batch = []
    _move(store, segments, cells, batch, done)
    segments.look()
    return done


def _read(cells: Place, name: str) -> _Loose | None:
    with reading(cells, name):
        stamp = cells.stamp(name)
    packed = content_of(cells, name)
    record = record_from(unpacked(packed), Cell.kind, name.removesuffix(".json"))
    return None if packed is None or record is None else _Loose(name, stamp, record["id"], line_of(record, packed))


def _move(store: Store, segments: Segments, cells: Place, batch: Sequence[_Loose], done: Gathered) -> None:
    """Write the records that no segment holds to a new segment, then remove the files of the whole batch."""
    known = [loose for loose in batch if loose.task_id in segments.rows]
    # a process that was ended halfway has gathered these already
    same = {loose.task_id for loose in known if segments.record(loose.task_id) == _record(loose.line)}
    loosen(store, [loose.task_id for loose in batch if loose.task_id not in same])  # a segment has another record
    if lines := [loose.line for loose in batch if loose.task_id not in same]:
        segments.add(lines)
        done.segments += 1

    def remove(loose: _Loose) -> bool:
        if cells.stamp(loose.name) != loose.stamp:
            return False  # it has been written again, and counts before the segment's
        cells.remove(loose.name)
        store.board.forget(FOLDERS[Cell.kind], loose.task_id)
        return True

    done.records += sum(cells.each(remove, batch))


def _mend(segments: Segments) -> int:
    damaged = sorted(segments.damaged)
    for name in damaged:
        segments.replace(name, segments.lines(name).values())
    segments.look()
    return len(damaged)


def loosen(store: Store, ids: Collection[str] | None = None) -> int:
    """Give gathered records files of their own again, and take them out of their segments; return how many there were.

    A cell that has a file keeps it. The file is written first, so it can be interrupted anywhere.

    :param ids: those of the cells; None: all. The caller holds :meth:`Store.one_driver`.
    """
    segments = store.segments
    if segments is None:
        return 0
    wanted = set(segments.look()) if ids is None else segments.known().keys() & set(ids)
    if not wanted:
        return 0
    cells = store.place.within(FOLDERS[Cell.kind])
    there = set(cells.names())
    newest = {task_id: segments.rows[task_id].segment for task_id in wanted}
    for name in segments.names if segments.doubled else sorted(set(newest.values())):
        lines = segments.lines(name)
        out = wanted & lines.keys()
        if not out:
            continue
        alone = [task_id for task_id in out if newest[task_id] == name and f"{task_id}.json" not in there]
        _write_all(cells, {task_id: lines[task_id] for task_id in alone})
        segments.replace(name, [line for task_id, line in lines.items() if task_id not in out])
    segments.look()
    for task_id in wanted:
        store.board.wrote(FOLDERS[Cell.kind], task_id)
    return len(wanted)


def _write_all(cells: Place, lines: dict[str, bytes]) -> None:
    for _ in cells.each(lambda task_id: cells.write(f"{task_id}.json", pack_record(_record(lines[task_id]))), lines):
        pass


def _record(line: bytes) -> Json:
    """The record in a line that is whole."""
    return unpack_record(line.split(b"\t", 3)[3], "a line of a segment")
