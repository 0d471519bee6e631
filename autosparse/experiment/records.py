"""What lies at a place: records as they were written, files, checkpoints. Store decides what counts as finished."""

import contextlib
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from autosparse.errors import AutosparseError, CannotWrite, CorruptFile
from autosparse.experiment.board import Board
from autosparse.experiment.lineage import Lineage
from autosparse.experiment.record import Record, content_of, reading, record_from, stamped_content, unpacked
from autosparse.experiment.segments import Segments
from autosparse.experiment.stages import IRP, OF_KIND, SCORERS
from autosparse.experiment.tasks import Cell, Task
from autosparse.files import sha256_file
from autosparse.storage import Place, place_at
from autosparse.storage.checkpoints import Checkpoints
from autosparse.storage.lock import one_driver

R = TypeVar("R")

FOLDERS = {kind: stage.plural for kind, stage in OF_KIND.items()}
FAILED, SUPERSEDED, STATES, SEGMENTS = "failed", "superseded", "states", "segments"
IDENTITY = ".identity"
WITH_FILES = (IRP.kind, SCORERS.kind)
"""Kinds of tasks that leave more than a record."""


class Records:
    """The records and files at one place, whole or not."""

    def __init__(self, where: str | Path | Place, gathered: bool = True):
        """
        :param where: a folder, or an object store's ``s3://bucket/prefix`` or ``gs://bucket/prefix``.
        :param gathered: whether to look for cells in segments, too. Workers do not: they are given only cells that the
            driver has not found there.
        """
        self.place = place_at(where)
        self.root = self.place.local
        """The folder itself; for an object store, the folder of this machine where its files are made and read."""
        self.board = Board()
        self.segments = Segments(self.place.within(SEGMENTS)) if gathered else None
        self._stand: dict[str, bool] = {}
        """Whether gathered records with these terms have today's values."""

    def prepare(self) -> None:
        """Make the folder; raise now if it cannot be written."""
        self.place.require_writable()
        if not self.identity:
            self.place.write(IDENTITY, secrets.token_hex(16).encode())

    @property
    def identity(self) -> str:
        """A text that every node reads from this storage and no other; empty if it has not been prepared."""
        return (content_of(self.place, IDENTITY) or b"").decode("ascii", "replace")

    def require(self, identity: str) -> None:
        """Raise if this node has something else at this path; each worker asks, since nodes may join at any time."""
        if self.identity != identity:
            raise CannotWrite(
                f"{self.place} is not shared: this node cannot see the driver's files; put --storage on a folder that "
                "all nodes mount at this path, such as NFS, or on s3://"
            )

    @contextlib.contextmanager
    def one_driver(self) -> Iterator[threading.Event]:
        """Hold the storage for this driver alone, see :func:`one_driver`; make it first, if it is new.

        :raises CannotWrite: if the storage cannot be written.
        """
        self.place.require_writable()
        with one_driver(self.place) as lost:
            self.prepare()  # within, because two drivers that start at once would each give it an identity
            yield lost

    def record_path(self, task: Task) -> Path:
        """Where the record of a finished task lies, in a storage that is a folder."""
        return self.root / FOLDERS[task.kind] / f"{task.id}.json"

    def files_path(self, kind: str, task_id: str) -> Path:
        """The folder in which the files of an IRP run or a scorer are made, or a sweep's trials keep their states."""
        return self.root / name_of(kind, task_id)

    def fetched(self, kind: str, task_id: str) -> Path:
        """The same folder, with the files that the store holds, for reading."""
        return self.place.fetch(name_of(kind, task_id))

    def states(self, task: Task, mark: str = "") -> Checkpoints:
        """The checkpoints of an unfinished task.

        :param mark: distinguishes those that count from other checkpoints of the task.
        """
        return Checkpoints(self.place.within(f"{STATES}/{task.id}"), f"{task.id}/{mark}" if mark else task.id)

    def steps(self) -> dict[str, int]:
        """The step of the newest checkpoint of each unfinished task that has any, whole or not, by the task's id."""
        found: dict[str, int] = {}
        for name in self._names(STATES, deep=True):
            task_id, _, file = name.partition("/")
            stem, _, suffix = file.partition(".")
            if suffix == "json" and stem.isdigit():
                found[task_id] = max(int(stem), found.get(task_id, 0))
        return found

    def lineage(self) -> Lineage:
        """A lineage that tells whether the records of this moment still stand for their tasks."""
        return Lineage(self.written)

    def written(self, kind: str, task_id: str) -> Record | None:
        """A record as it was written, whatever has happened to its task and its files since.

        Its own file, whole or not, counts before a segment.
        """
        return self._stamped(kind, task_id)[0]

    def _stamped(self, kind: str, task_id: str) -> tuple[Record | None, int | None]:
        """The record as :meth:`written`, and the stamp of its own file as it was read."""
        data, stamp = stamped_content(self.place, f"{name_of(kind, task_id)}.json")
        if data is None and self.segments and kind == Cell.kind:
            return record_from(self.segments.record(task_id), kind, task_id), None
        return record_from(unpacked(data), kind, task_id), stamp

    def record_of(self, kind: str, task_id: str) -> Record:
        """The :meth:`record` of a finished task of which only the id is known.

        :raises CorruptFile: if the record is missing or damaged, or a file of the task is.
        """
        record = self.written(kind, task_id)
        if record is not None and self._has_files(kind, task_id, record):
            return record
        raise CorruptFile(
            f"no whole record {self.place}/{name_of(kind, task_id)}.json of a finished {kind}; run the experiment again"
        )

    def each(self, look: Callable[[Task], R | None], tasks: Iterable[Task]) -> dict[str, R]:
        """What ``look`` finds for each task, by the task's id; without the tasks for which it finds nothing."""
        tasks = list(tasks)
        found = self.place.each(look, tasks)
        return {task.id: result for task, result in zip(tasks, found, strict=True) if result}

    def _has_files(self, kind: str, task_id: str, record: Record) -> bool:
        """Whether a record's files are there and whole, and no foreign file is there that would be read as one of them.

        If only this machine's copy of them is damaged, it is fetched anew.
        """
        if kind not in WITH_FILES:
            return True
        name, files = name_of(kind, task_id), record["files"]
        kinds = {Path(file).suffix for file in files}

        def whole() -> bool:
            folder = self.place.fetch(name)
            with reading(self.place, name):
                present = checksums(folder)
            return bool(files == {n: sha for n, sha in present.items() if n in files or Path(n).suffix in kinds})

        return whole() or (self.place.forget(name) and whole())

    def _names(self, folder: str, deep: bool = False) -> set[str]:
        with reading(self.place, folder):
            return set(self.place.within(folder).names(deep))


def name_of(kind: str, task_id: str) -> str:
    """Where a task's record and files lie in the store.

    :raises AutosparseError: for an id that could lead out of the store: some come from records that others wrote.
    """
    if not re.fullmatch(r"[\w-]+", task_id):
        raise AutosparseError(f"{task_id!r} is not the id of a task")
    return f"{FOLDERS[kind]}/{task_id}"


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder, by its path there; without hidden files, which systems leave behind."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    ours = {name: path for name, path in files.items() if not any(part.startswith(".") for part in name.parts)}
    return {str(name): sha256_file(path) for name, path in ours.items()}
