"""What finished work leaves on the storage path: one record per task, and the files of IRP runs and scorers.

cells/<id>.json                         a finished cell
irp/<id>.json  irp/<id>/                a finished IRP run and its survival dataset
sweeps/<id>.json                        a finished sweep; sweeps/<id>/ while it runs: the states of its trials
scorers/<id>.json  scorers/<id>/        a finished fit and its scorer
states/<id>/                            how far an unfinished IRP run has come
failed/<id>.json                        the last failure of a task that has not finished since
"""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autosparse.checkpoint import Checkpoints
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.experiment.tasks import Task
from autosparse.files import read_record, require_writable, sha256_file, write_record

FOLDERS = {"cell": "cells", "irp": "irp", "sweep": "sweeps", "scorer": "scorers"}
WITH_FILES = ("irp", "scorer")
"""Kinds of tasks that leave more than a record."""

Record = dict[str, Any]
"""``id, kind, spec, ended_ms, result, files, environment``; of a failure ``error, traceback`` for ``result, files``."""


class Store:
    """The records and files under one folder. A task is finished when its record is there and whole."""

    def __init__(self, root: str | Path):
        self.root = Path(root).absolute()

    def prepare(self) -> None:
        """Make the folder; raises now where it cannot be written."""
        require_writable(self.root)

    @contextlib.contextmanager
    def one_driver(self) -> Iterator[None]:
        """Hold the storage for this driver alone; raises where another one holds it. Ends with the process."""
        with (self.root / ".driver.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise AutosparseError(
                    f"another autosparse is running on {self.root}: wait for it, or choose another --storage"
                ) from error
            yield

    def record_path(self, task: Task) -> Path:
        """Where the record of a finished task lies."""
        return self.root / FOLDERS[task.kind] / f"{task.id}.json"

    def files_path(self, kind: str, task_id: str) -> Path:
        """The folder of an IRP run's survival dataset, of a scorer, or of a sweep's trials."""
        return self.root / FOLDERS[kind] / task_id

    def states(self, task: Task) -> Checkpoints:
        """How far an unfinished task has come."""
        return Checkpoints(self.root / "states" / task.id)

    def record(self, task: Task) -> Record | None:
        """The record of a finished task; None where there is none, or it or a file of the task is damaged or gone."""
        found = self._read(self.record_path(task), task)
        return found if found is not None and found.get("files", {}) == self._checksums(task) else None

    def result(self, kind: str, task_id: str) -> Record:
        """The result in the record of a finished task of which only the id is known.

        :raises AutosparseError: where there is none, or it is damaged.
        """
        path = self.root / FOLDERS[kind] / f"{task_id}.json"
        try:
            found: Record = read_record(path)["result"]
        except (OSError, CorruptFile, KeyError) as error:
            raise AutosparseError(f"no whole record {path} of a finished {kind}; run the experiment again") from error
        return found

    def failure(self, task: Task) -> Record | None:
        """The record of the task's last failure, if it has not finished since."""
        return self._read(self._failure_path(task), task)

    def finish(self, task: Task, result: Record, environment: Record) -> None:
        """Write the record that makes a task finished."""
        outcome = {"result": result, "files": self._checksums(task)}
        write_record(self.record_path(task), self._content(task, outcome, environment))
        self._failure_path(task).unlink(missing_ok=True)
        self.states(task).clear()

    def fail(self, task: Task, error: str, traceback: str, environment: Record) -> None:
        """Write down why a task failed; it stays unfinished."""
        content = self._content(task, {"error": error, "traceback": traceback}, environment)
        write_record(self._failure_path(task), content)

    def _failure_path(self, task: Task) -> Path:
        return self.root / "failed" / f"{task.id}.json"

    def _checksums(self, task: Task) -> dict[str, str]:
        """SHA-256 of each file of an IRP run or scorer, by its path in their folder."""
        if task.kind not in WITH_FILES:
            return {}
        folder = self.files_path(task.kind, task.id)
        return {
            str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
        }

    @staticmethod
    def _content(task: Task, outcome: Record, environment: Record) -> Record:
        own = {"id": task.id, "kind": task.kind, "spec": task.spec, "ended_ms": int(time.time() * 1000)}
        return {**own, **outcome, "environment": environment}

    @staticmethod
    def _read(path: Path, task: Task) -> Record | None:
        try:
            record = read_record(path)
        except (FileNotFoundError, CorruptFile):
            return None  # unfinished either way: the task is done again and the record replaced
        except OSError as error:
            raise AutosparseError(f"cannot read {path}: {error.strerror or error}; choose another --storage") from error
        return record if record.get("id") == task.id else None
