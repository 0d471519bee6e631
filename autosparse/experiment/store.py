"""What finished work leaves on the storage path: one record per task, and the files of IRP runs and scorers.

cells/<id>.json                         a finished cell
irp/<id>.json  irp/<id>/                a finished IRP run and its survival dataset
sweeps/<id>.json                        a finished sweep; sweeps/<id>/ while it runs: the states of its trials
scorers/<id>.json  scorers/<id>/        a finished fit and its scorer
states/<id>/                            how far an unfinished IRP run, or the training of a cell, has come
failed/<id>.json                        the last failure of a task that has not finished since
superseded/cells/<id>-<ended_ms>.json   a cell that was done again because values, data or code changed; others likewise
.identity                               tells this storage from another one at the same path of another machine
"""

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from autosparse.errors import AutosparseError, CannotWrite, CorruptFile, Unreachable, safe_uri
from autosparse.experiment.board import Board
from autosparse.experiment.lineage import Lineage, Made, made_by
from autosparse.experiment.record import Json, Record, record_from
from autosparse.experiment.resolved import resolve
from autosparse.experiment.sources import code_of
from autosparse.experiment.stages import OF_KIND
from autosparse.experiment.tasks import Cell, Task
from autosparse.files import pack_record, sha256_file, unpack_record
from autosparse.storage import Folder, Place, place_at
from autosparse.storage.checkpoints import Checkpoints
from autosparse.storage.lock import one_driver

FOLDERS = {kind: stage.plural for kind, stage in OF_KIND.items()}
FAILED, SUPERSEDED, STATES = "failed", "superseded", "states"
IDENTITY = ".identity"
FEW = 1000
"""Records that are looked for one by one; a listing tells of as many in one request."""
WITH_FILES = ("irp", "scorer")
"""Kinds of tasks that leave more than a record."""


class Store:
    """The records and files at one place. A task is finished when its record is there and whole."""

    def __init__(self, where: str | Path | Place):
        """:param where: a folder, or an object store's ``s3://bucket/prefix`` or ``gs://bucket/prefix``."""
        self.place = place_at(where)
        self.root = self.place.local
        """The folder itself; for an object store, the folder of this machine where its files are made and read."""
        self.board = Board()

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
        return self.root / _name(kind, task_id)

    def fetched(self, kind: str, task_id: str) -> Path:
        """The same folder with the files that the store has of it, to read from."""
        return self.place.fetch(_name(kind, task_id))

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

    def record(self, task: Task) -> Record | None:
        """The record of a finished task.

        None if no record stands for the task today, or if the record or a file of the task is damaged or gone.
        """
        return self._record(task, self.lineage())

    def _record(self, task: Task, lineage: Lineage) -> Record | None:
        stamp = self.place.stamp(f"{_name(task.kind, task.id)}.json")  # before reading: what is written later differs
        found = self._read(FOLDERS[task.kind], task)
        if found is None or lineage.changed(task, found):
            self.board.doubt(task.id)
            return None
        whole = self._has_files(task.kind, task.id, found)
        if not whole and self.place.forget(_name(task.kind, task.id)):
            whole = self._has_files(task.kind, task.id, found)
        if whole:
            self.board.saw(task.id, lineage.ground(task), stamp, made_by(found))
        else:
            self.board.doubt(task.id)
        return found if whole else None

    def lineage(self) -> Lineage:
        """A lineage that tells whether the records of this moment still stand for their tasks."""
        return Lineage(self.written)

    def made(self, task: Task) -> Made | None:
        """What made the result of a finished task, as it was when its record was last read here."""
        if task.id not in self.board.made:
            self.record(task)
        return self.board.made.get(task.id)

    def forget(self, task: Task) -> None:
        """Forget what is known of a task's record, which has gone."""
        self.board.forget(FOLDERS[task.kind], task.id)

    def _has_files(self, kind: str, task_id: str, record: Record) -> bool:
        """Whether the files of a record are there and whole, and no other file that would be read as one of them."""
        if kind not in WITH_FILES:
            return True
        folder = self.fetched(kind, task_id)
        try:
            present = _checksums(folder)
        except OSError as error:
            raise self._unreadable(_name(kind, task_id), error) from error
        files, kinds = record["files"], {Path(name).suffix for name in record["files"]}
        return bool(files == {n: sha for n, sha in present.items() if n in files or Path(n).suffix in kinds})

    def finished(self, tasks: Iterable[Task], known: bool = False) -> set[str]:
        """The ids of those that have a :meth:`record`; faster than asking one by one.

        It lists the records, and reads those that it has not found whole before, or whose files are no longer the same.

        :param known: for whoever holds :meth:`one_driver`: also trust records that were whole before without looking
            at their files, and what workers said of cells. What cells have records is not listed again, so those of
            which no worker spoke are missing: see :meth:`finished_now`.
        """
        tasks, lineage = list(tasks), self.lineage()
        listed = {kind: self._listed(kind, known) for kind in {task.kind for task in tasks}}
        told = {task.id for task in tasks if known and isinstance(task, Cell) and self.board.told(task.id)}
        there = [task for task in tasks if task.id in listed[task.kind] and task.id not in told]
        trusted = {
            task.id
            for task in there
            if self.board.trusts(task.id, lineage.ground(task))
            and (known or self._unchanged(task, listed[task.kind][task.id]))
        }
        asked = [task for task in there if task.id not in trusted]
        found = self.place.each(lambda task: self._record(task, lineage) is not None, asked)
        return told | trusted | {task.id for task, good in zip(asked, found, strict=True) if good}

    def finished_now(self, tasks: Iterable[Task]) -> set[str]:
        """The ids of those that are :meth:`finished`, with what workers wrote and did not live to tell.

        It looks for the record of each task of which nothing is known, or lists them all if that is less work.
        """
        tasks = list(tasks)
        done = self.finished(tasks, known=True)
        silent = [task for task in tasks if task.id not in done]
        if len(silent) > FEW:
            return done | self.finished(silent)
        return done | self.records(silent).keys()

    def hear(self, task_ids: Iterable[str]) -> None:
        """Note that workers say they have written the records of these tasks."""
        for task_id in task_ids:
            self.board.hear(task_id)

    def records(self, tasks: Iterable[Task]) -> dict[str, Record]:
        """The :meth:`record` of each that has one, by its id. It lists no folder, which is faster for few tasks."""
        tasks, lineage = list(tasks), self.lineage()
        found = self.place.each(lambda task: self._record(task, lineage), tasks)
        return {task.id: record for task, record in zip(tasks, found, strict=True) if record is not None}

    def recorded(self, tasks: Iterable[Task]) -> set[str]:
        """The ids of those that have a file, of success or failure, whole or not."""
        tasks = list(tasks)
        failed = self._names(FAILED) if tasks else set()
        return self.there(tasks) | {task.id for task in tasks if f"{task.id}.json" in failed}

    def there(self, tasks: Iterable[Task]) -> set[str]:
        """The ids of those that have a file of success, whole or not; of cells, as far as is known."""
        tasks = list(tasks)
        listed = {kind: self._listed(kind, known=True) for kind in {task.kind for task in tasks}}
        return {t.id for t in tasks if t.id in listed[t.kind] or (isinstance(t, Cell) and self.board.told(t.id))}

    def written(self, kind: str, task_id: str) -> Record | None:
        """A record as it was written, whatever has become of its task and of its files."""
        return record_from(self._unpacked(f"{_name(kind, task_id)}.json"), kind, task_id)

    def record_of(self, kind: str, task_id: str) -> Record:
        """The :meth:`record` of a finished task of which only the id is known.

        :raises CorruptFile: if there is none, or it or a file of the task is damaged or gone.
        """
        record = self.written(kind, task_id)
        if record is not None:
            if self._has_files(kind, task_id, record):
                return record
            self.place.forget(_name(kind, task_id))  # perhaps only this machine's copy is damaged
        raise CorruptFile(
            f"no whole record {self.place}/{_name(kind, task_id)}.json of a finished {kind}; run the experiment again"
        )

    def failure(self, task: Task) -> Record | None:
        """The record of the task's last failure, if it has not finished since, and nothing has changed since."""
        found = self._read(FAILED, task)
        return None if found is None or self.lineage().changed(task, found) else found

    def failed(self, tasks: Iterable[Task]) -> set[str]:
        """The ids of those that have a :meth:`failure`."""
        return set(self.failures(tasks))

    def failures(self, tasks: Iterable[Task]) -> dict[str, Record]:
        """The :meth:`failure` of each that has one, by its id."""
        tasks = list(tasks)
        names = self._names(FAILED) if tasks else set()
        there = [task for task in tasks if f"{task.id}.json" in names]
        found = self.place.each(self.failure, there)
        return {task.id: failure for task, failure in zip(there, found, strict=True) if failure is not None}

    def finish(self, task: Task, result: Json, environment: Json) -> None:
        """Write the record that makes a task finished, after its files."""
        files = {}
        if task.kind in WITH_FILES:
            self.place.send(f"{FOLDERS[task.kind]}/{task.id}")
            files = _checksums(self.files_path(task.kind, task.id))
        self._write(FOLDERS[task.kind], task, {"result": result, "files": files}, environment)
        self.place.remove(f"{FAILED}/{task.id}.json")
        self.states(task).clear()
        self.board.wrote(FOLDERS[task.kind], task.id)

    def fail(self, task: Task, error: str, traceback: str, environment: Json) -> None:
        """Write down why a task failed; it stays unfinished. A cell that is tried again later begins anew."""
        self._write(FAILED, task, {"error": plain(error), "traceback": plain(traceback)}, environment)
        if isinstance(task, Cell):
            self.states(task).clear()

    def _listed(self, kind: str, known: bool) -> dict[str, int | None]:
        """The stamps of the records of a kind, by the ids of their tasks.

        :param known: for cells, as they were last listed; of the others there are few, so they are listed each time.
        """
        folder, listed = FOLDERS[kind], self.board.listed
        if folder not in listed or not known or kind != Cell.kind:
            try:
                stamps = self.place.within(folder).stamps()
            except OSError as error:
                raise self._unreadable(folder, error) from error
            listed[folder] = {
                name.removesuffix(".json"): stamp for name, stamp in stamps.items() if name.endswith(".json")
            }
        return listed[folder]

    def _unchanged(self, task: Task, stamp: int | None) -> bool:
        """Whether a record that was whole must still be, by the stamp of its file; in a folder, its files have none."""
        alone = task.kind not in WITH_FILES or not isinstance(self.place, Folder)
        return alone and self.board.unchanged(task.id, stamp)

    def _names(self, folder: str, deep: bool = False) -> set[str]:
        try:
            return set(self.place.within(folder).names(deep))
        except OSError as error:
            raise self._unreadable(folder, error) from error

    def _write(self, folder: str, task: Task, outcome: Json, environment: Json) -> None:
        record: Json = {"id": task.id, "kind": task.kind, "spec": task.spec, "resolved": resolve(task)}
        record |= {"code": code_of(task), "built_on": self.built_on(task), "ended_ms": int(time.time() * 1000)}
        self.place.write(f"{folder}/{task.id}.json", pack_record({**record, **outcome, "environment": environment}))

    def built_on(self, task: Task) -> dict[str, str]:
        """The fingerprints of the records that ``task`` builds on, by their ids."""
        return self.lineage().built_on(task)

    def _read(self, folder: str, task: Task) -> Record | None:
        return record_from(self._unpacked(f"{folder}/{task.id}.json"), task.kind, task.id, folder == FAILED)

    def _unpacked(self, name: str) -> Json | None:
        """The content of a record; None if it is absent or damaged: either way its task is done again."""
        try:
            return unpack_record(self.place.read(name), name)
        except (FileNotFoundError, IsADirectoryError, CorruptFile):
            return None
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> Unreachable:
        reason = error.strerror or error
        return Unreachable(f"cannot read {self.place}/{name}: {reason}; make it readable, or choose another --storage")


def _name(kind: str, task_id: str) -> str:
    """Where a task's record and files lie in the store.

    :raises AutosparseError: for an id that could lead out of the store: some come from records that others wrote.
    """
    if not re.fullmatch(r"[\w-]+", task_id):
        raise AutosparseError(f"{task_id!r} is no id of a task")
    return f"{FOLDERS[kind]}/{task_id}"


def plain(text: str) -> str:
    """``text`` without credentials, and without what databases refuse: halves of characters, and null characters."""
    return safe_uri(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder, by its path there; without hidden files, which systems leave behind."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    ours = {name: path for name, path in files.items() if not any(part.startswith(".") for part in name.parts)}
    return {str(name): sha256_file(path) for name, path in ours.items()}
