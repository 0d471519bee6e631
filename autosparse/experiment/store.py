"""What finished work leaves on the storage path: one record per task, and the files of IRP runs and scorers.

cells/<id>.json                         a finished cell
irp/<id>.json  irp/<id>/                a finished IRP run and its survival dataset
sweeps/<id>.json                        a finished sweep; sweeps/<id>/ while it runs: the states of its trials
scorers/<id>.json  scorers/<id>/        a finished fit and its scorer
segments/<SHA-256>.jsonl                thousands of finished cells that were gathered
states/<id>/                            how far an unfinished IRP run, or the training of a cell, has come
failed/<id>.json                        the last failure of a task that has not finished since
superseded/cells/<id>-<ended_ms>.json   a cell that was done again because values, data or code changed; others likewise
.identity                               distinguishes this storage from one at the same path of another machine
"""

import time
from collections.abc import Iterable, Mapping

from autosparse.errors import safe_uri
from autosparse.experiment.lineage import Lineage, Made, made_by
from autosparse.experiment.record import Json, Record, content_of, reading, record_from, unpacked
from autosparse.experiment.records import FAILED, FOLDERS, WITH_FILES, Records, checksums
from autosparse.experiment.resolved import resolve
from autosparse.experiment.segments import Row
from autosparse.experiment.sources import code_of
from autosparse.experiment.tasks import Cell, Task
from autosparse.files import pack_record
from autosparse.storage import Folder

__all__ = ["FOLDERS", "Json", "Store", "plain"]

FEW = 1000
"""Up to this many, look records up one by one; one listing request covers as many."""


class Store(Records):
    """The records and files at one place. A task is finished when its record is there and whole."""

    def record(self, task: Task) -> Record | None:
        """The record of a finished task.

        None if no record stands for the task today, or if the record or a file of the task is damaged or gone.
        """
        found, segments = self._record(task, self.lineage()), self.segments if isinstance(task, Cell) else None
        if found is None and segments and task.id not in segments.known() and task.id in segments.look():
            return self._record(task, self.lineage())  # another process has gathered it since
        return found

    def _record(self, task: Task, lineage: Lineage) -> Record | None:
        found, stamp = self._stamped(task.kind, task.id)
        if found is None or lineage.changed(task, found) or not self._has_files(task.kind, task.id, found):
            self.board.doubt(task.id)
            return None
        self.board.saw(task.id, lineage.ground(task), stamp, made_by(found))
        return found

    def made(self, task: Task) -> Made | None:
        """What made the result of a finished task, as it was when its record was last read here."""
        if task.id not in self.board.made:
            self.record(task)
        return self.board.made.get(task.id)

    def forget(self, task: Task) -> None:
        """Forget what is known about a task's record, which is gone."""
        self.board.forget(FOLDERS[task.kind], task.id)

    def finished(self, tasks: Iterable[Task], known: bool = False) -> set[str]:
        """The ids of the tasks that have a :meth:`record`; faster than asking one by one.

        It lists the records, and reads those that it has not found whole before, or whose files are no longer the same.

        :param known: for whoever holds :meth:`one_driver`: also trust records that were whole before without looking
            at their files, and what workers said about cells. The records of cells are not listed again, so those that
            no worker reported are missing: see :meth:`finished_now`.
        """
        tasks, lineage = list(tasks), self.lineage()
        listed = {kind: self._listed(kind, known) for kind in {task.kind for task in tasks}}
        told = {task.id for task in tasks if known and isinstance(task, Cell) and task.id in self.board.told}
        there = [task for task in tasks if task.id in listed[task.kind] and task.id not in told]
        trusted = {task.id for task in there if self._trusts(task, listed[task.kind][task.id], lineage, known)}
        asked = [task for task in there if task.id not in trusted]
        found = self.place.each(lambda task: self._record(task, lineage) is not None, asked)
        whole = told | trusted | {task.id for task, good in zip(asked, found, strict=True) if good}
        return whole | self._gathered([task for task in tasks if task.id not in listed[task.kind]], lineage, known)

    def _gathered(self, tasks: Iterable[Task], lineage: Lineage, known: bool) -> set[str]:
        """The ids of the cells whose records are in segments and stand for them; a cell's own file counts first."""
        if self.segments is None or not (cells := [task for task in tasks if isinstance(task, Cell)]):
            return set()
        rows = self.segments.known() if known else self.segments.look()
        found = {cell.id for cell in cells if (row := rows.get(cell.id)) and self._row_stands(cell, row, lineage)}
        self.board.made.update({task_id: rows[task_id].made for task_id in found})
        return found

    def _row_stands(self, cell: Cell, row: Row, lineage: Lineage) -> bool:
        """Whether :meth:`record` would find the record of a row, without reading each one."""
        if row.terms not in self._stand:
            record = record_from(self.segments and self.segments.record(cell.id), cell.kind, cell.id)
            if record is None:
                return False
            self._stand[row.terms] = not lineage.changed(cell, record).values
        return self._stand[row.terms] and not (cell.inputs and lineage.fallen(cell, row.built_on))

    def finished_now(self, tasks: Iterable[Task]) -> set[str]:
        """The ids of the tasks that are :meth:`finished`, with those that workers wrote but did not live to report.

        It looks for the record of each task that nothing is known about, or lists them all if that is less work.
        """
        tasks = list(tasks)
        done = self.finished(tasks, known=True)
        silent = [task for task in tasks if task.id not in done]
        if len(silent) > FEW:
            return done | self.finished(silent)
        return done | self.records(silent).keys()

    def hear(self, task_ids: Iterable[str]) -> None:
        """Note that workers say they have written the records of these tasks."""
        self.board.told.update(task_ids)

    def records(self, tasks: Iterable[Task]) -> dict[str, Record]:
        """The :meth:`record` of each task that has one, by id. It lists no folder, which is faster for few tasks."""
        lineage = self.lineage()
        return self.each(lambda task: self._record(task, lineage), tasks)

    def recorded(self, tasks: Iterable[Task]) -> set[str]:
        """The ids of the tasks that have a file now, of success or failure, whole or not."""
        tasks = list(tasks)
        failed = self._names(FAILED) if tasks else set()
        return self.there(tasks, known=False) | {task.id for task in tasks if f"{task.id}.json" in failed}

    def there(self, tasks: Iterable[Task], known: bool = True) -> set[str]:
        """The ids of the tasks that have a file of success, whole or not.

        :param known: for cells, answer from what is known, and list nothing again.
        """
        tasks = list(tasks)
        listed = {kind: self._listed(kind, known) for kind in {task.kind for task in tasks}}
        cells = [task.id for task in tasks if isinstance(task, Cell)]
        rows: Mapping[str, Row] = {}
        if self.segments and cells:
            rows = self.segments.known() if known else self.segments.look()
        found = {task.id for task in tasks if task.id in listed[task.kind]}
        return found | {task_id for task_id in cells if task_id in rows or task_id in self.board.told}

    def failure(self, task: Task) -> Record | None:
        """The record of the task's last failure, if it has not finished since, and nothing has changed since."""
        data = content_of(self.place, f"{FAILED}/{task.id}.json")
        found = record_from(unpacked(data), task.kind, task.id, failed=True)
        return None if found is None or self.lineage().changed(task, found) else found

    def failed(self, tasks: Iterable[Task]) -> set[str]:
        """The ids of the tasks that have a :meth:`failure`."""
        return set(self.failures(tasks))

    def failures(self, tasks: Iterable[Task]) -> dict[str, Record]:
        """The :meth:`failure` of each task that has one, by its id."""
        tasks = list(tasks)
        names = self._names(FAILED) if tasks else set()
        return self.each(self.failure, [task for task in tasks if f"{task.id}.json" in names])

    def finish(self, task: Task, result: Json, environment: Json) -> None:
        """Write the record that makes a task finished, after its files."""
        files = {}
        if task.kind in WITH_FILES:
            self.place.send(f"{FOLDERS[task.kind]}/{task.id}")
            files = checksums(self.files_path(task.kind, task.id))
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
            with reading(self.place, folder):
                stamps = self.place.within(folder).stamps().items()
            listed[folder] = {name.removesuffix(".json"): stamp for name, stamp in stamps if name.endswith(".json")}
        return listed[folder]

    def _trusts(self, task: Task, stamp: int | None, lineage: Lineage, known: bool) -> bool:
        """Whether a record need not be read again, see :meth:`finished`: it was whole, and stands on the same today.

        :param stamp: the listed stamp of the record's file. In a folder, a stamp does not cover the task's other files.
        """
        found = self.board.whole.get(task.id)
        if found is None or found.ground != lineage.ground(task):
            return False
        stamped = task.kind not in WITH_FILES or not isinstance(self.place, Folder)
        return known or (stamped and found.stamp is not None and found.stamp == stamp)

    def _write(self, folder: str, task: Task, outcome: Json, environment: Json) -> None:
        record: Json = {"id": task.id, "kind": task.kind, "spec": task.spec, "resolved": resolve(task)}
        record |= {"code": code_of(task), "built_on": self.built_on(task), "ended_ms": int(time.time() * 1000)}
        self.place.write(f"{folder}/{task.id}.json", pack_record({**record, **outcome, "environment": environment}))

    def built_on(self, task: Task) -> dict[str, str]:
        """The fingerprints of the records that ``task`` builds on, by their ids."""
        return self.lineage().built_on(task)


def plain(text: str) -> str:
    """``text`` without credentials, and without what databases refuse: lone surrogates and null characters."""
    return safe_uri(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
