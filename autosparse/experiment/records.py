"""What lies at a place: records as they were written, files, checkpoints. What counts as finished is Store's to say."""

import contextlib
import re
import secrets
import threading
from pathlib import Path

from autosparse.errors import AutosparseError, CannotWrite, CorruptFile, Unreachable
from autosparse.experiment.board import Board
from autosparse.experiment.lineage import Lineage
from autosparse.experiment.record import Json, Record, record_from
from autosparse.experiment.segments import Segments
from autosparse.experiment.stages import OF_KIND
from autosparse.experiment.tasks import Cell, Task
from autosparse.files import sha256_file, unpack_record
from autosparse.storage import Place, place_at
from autosparse.storage.checkpoints import Checkpoints
from autosparse.storage.lock import one_driver

FOLDERS = {kind: stage.plural for kind, stage in OF_KIND.items()}
FAILED, SUPERSEDED, STATES, SEGMENTS = "failed", "superseded", "states", "segments"
IDENTITY = ".identity"
WITH_FILES = ("irp", "scorer")
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
        try:
            return self.place.read(IDENTITY).decode("ascii", "replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise self._unreadable(IDENTITY, error) from error

    def require(self, identity: str) -> None:
        """Raise if this node has something else at this path; each worker asks, since nodes may join at any time."""
        if self.identity != identity:
            raise CannotWrite(
                f"{self.place} is not shared: this node cannot see the driver's files; put --storage on a folder that "
                "all nodes mount at this path, such as NFS, or on s3://"
            )

    def one_driver(self) -> contextlib.AbstractContextManager[threading.Event]:
        """Hold the storage for this driver alone, see :func:`one_driver`."""
        return one_driver(self.place)

    def record_path(self, task: Task) -> Path:
        """Where the record of a finished task lies, in a storage that is a folder."""
        return self.root / FOLDERS[task.kind] / f"{task.id}.json"

    def files_path(self, kind: str, task_id: str) -> Path:
        """The folder in which the files of an IRP run or a scorer are made, or a sweep's trials keep their states."""
        return self.root / name_of(kind, task_id)

    def fetched(self, kind: str, task_id: str) -> Path:
        """The same folder with the files that the store has of it, to read from."""
        return self.place.fetch(name_of(kind, task_id))

    def states(self, task: Task, mark: str = "") -> Checkpoints:
        """The checkpoints of an unfinished task.

        :param mark: tells those that count from others of the task.
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
        """A record as it was written, whatever has become of its task and of its files."""
        return record_from(self._unpacked_of(kind, task_id), kind, task_id)

    def record_of(self, kind: str, task_id: str) -> Record:
        """The :meth:`record` of a finished task of which only the id is known.

        :raises CorruptFile: if the record is missing or damaged, or a file of the task is.
        """
        record = self.written(kind, task_id)
        if record is not None:
            if self._has_files(kind, task_id, record):
                return record
            self.place.forget(name_of(kind, task_id))  # perhaps only this machine's copy is damaged
        raise CorruptFile(
            f"no whole record {self.place}/{name_of(kind, task_id)}.json of a finished {kind}; run the experiment again"
        )

    def _has_files(self, kind: str, task_id: str, record: Record) -> bool:
        """Whether the files of a record are there and whole, and no other file that would be read as one of them."""
        if kind not in WITH_FILES:
            return True
        folder = self.fetched(kind, task_id)
        try:
            present = checksums(folder)
        except OSError as error:
            raise self._unreadable(name_of(kind, task_id), error) from error
        files, kinds = record["files"], {Path(name).suffix for name in record["files"]}
        return bool(files == {n: sha for n, sha in present.items() if n in files or Path(n).suffix in kinds})

    def _names(self, folder: str, deep: bool = False) -> set[str]:
        try:
            return set(self.place.within(folder).names(deep))
        except OSError as error:
            raise self._unreadable(folder, error) from error

    def _unpacked_of(self, kind: str, task_id: str) -> Json | None:
        """The content of a record of success; its own file, whole or not, counts before a segment."""
        try:
            return self._unpacked(f"{name_of(kind, task_id)}.json")
        except FileNotFoundError:
            return self.segments.record(task_id) if self.segments and kind == Cell.kind else None

    def _unpacked(self, name: str) -> Json | None:
        """The content of a record; None if it is damaged: its task is done again.

        :raises FileNotFoundError: if the record is missing.
        """
        try:
            return unpack_record(self.place.read(name), name)
        except FileNotFoundError:
            raise
        except (IsADirectoryError, CorruptFile):
            return None
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> Unreachable:
        reason = error.strerror or error
        return Unreachable(f"cannot read {self.place}/{name}: {reason}; make it readable, or choose another --storage")


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
