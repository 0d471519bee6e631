"""Write records to MLflow: one writer, one run per task, however often it is called."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param, RunTag

from autosparse.errors import AutosparseError
from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.record import Record
from autosparse.experiment.records import WITH_FILES
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, ScorerTask, Task
from autosparse.tracking.client import open_experiment, tracking_errors
from autosparse.tracking.database import Database
from autosparse.tracking.described import shown_tags, source_tags
from autosparse.tracking.entries import FAILURE_TAGS, MADE, param_names, tag_texts
from autosparse.tracking.inputs import inputs_of
from autosparse.tracking.known import FAILED, FINISHED, Known, of_another, told_already
from autosparse.tracking.new_run import NewRun, new_run
from autosparse.tracking.note import SHARE, WORTH, noted_and_others, write_note
from autosparse.tracking.parent import ParentRun
from autosparse.tracking.scorer_models import ScorerModels, if_known, of_model
from autosparse.tracking.search import all_runs
from autosparse.tracking.trials import log_trials

WRITERS = 8
"""Number of threads that write to a server; a file takes one at a time."""
AT_ONCE = 256
"""Most cells that one transaction writes to a database."""


class NotAllWritten(AutosparseError):
    """Some tasks could not be written; the error carries the first reason, and the tasks that are left."""

    def __init__(self, first: AutosparseError, left: Sequence[Planned[Task]]):
        super().__init__(str(first))
        self.left = left


class Tracker:
    """Writes the records of one experiment to MLflow.

    It finds runs by their ``task_id`` tag, so that a record that is written twice, such as after a crash, yields one
    run.
    """

    def __init__(self, client: MlflowClient, experiment: str, store: Store):
        self.client, self.experiment, self.store = client, experiment, store
        self.naming_data = threading.Lock()
        """Held while data sets are written: MLflow refuses one that two threads write for the first time."""
        with tracking_errors(client.tracking_uri):
            self.experiment_id = open_experiment(client, experiment)
            self.models = ScorerModels(client, self.experiment_id)
            self.database = Database.of(client)
            self.parent = ParentRun(client, self.experiment_id, experiment)
            self.known: dict[str, Known] = {}
            self.renewed = 0
            """Number of finished runs that were written again."""
            self.again: set[str] = set()
            """Ids of tasks that MLflow has as finished but that are done again: their new records replace the old."""
            self._names: dict[frozenset[str], frozenset[str]] = {}
            self._noted, self._unnoted = 0, 0
            """Numbers of the finished runs in the parent's note, and of those that came since."""
            self._start()

    def _start(self) -> None:
        """Learn what MLflow has: from the parent's note, and from the runs that the note lacks."""
        noted, others = noted_and_others(self.client, self.experiment_id, self.parent.id)
        for run in others:
            self._know(run)
        news = sum(known.status == FINISHED for known in self.known.values())
        for task_id, found in noted.items():
            self._keep(task_id, found)
        self._noted = len(noted)
        self._note(news)

    def _note(self, news: int) -> None:
        """Count new runs, and write another note if there are enough."""
        self._unnoted += news
        if self._unnoted >= max(WORTH, self._noted // SHARE):
            self._noted, self._unnoted = write_note(self.client, self.parent.id, self.known), 0

    def _know(self, run: Any) -> None:
        """Remember a task's run."""
        tags, info = run.data.tags, run.info
        about = (tags.get("label", ""), tags.get("kind", ""), tags.get(MADE, ""), self._once(run.data.params))
        self._keep(tags["task_id"], Known(info.run_id, info.status, *about))

    def _keep(self, task_id: str, found: Known) -> None:
        """Remember a task's run. If a repeated request or another driver has left two, keep the finished one."""
        other = self.known.get(task_id)
        if other is not None and other.run_id != found.run_id:
            found, double = (found, other) if found.status == FINISHED != other.status else (other, found)
            self.client.delete_run(double.run_id)
            if ScorerTask.kind in (found.kind, double.kind):
                self.models.drop(task_id, but=found.run_id)
        self.known[task_id] = found

    def _once(self, names: Iterable[str]) -> frozenset[str]:
        """The names as one object for the thousands of runs that share them."""
        found = frozenset(names)
        return self._names.setdefault(found, found)

    def forget(self, task_ids: Iterable[str]) -> None:
        """Delete the runs of tasks that are done again, so that nobody reads their old figures in the meantime."""
        with tracking_errors(self.client.tracking_uri):
            for task_id in task_ids:
                known = self.known.pop(task_id, Known())
                if known.run_id is not None:
                    self._drop(known.run_id, task_id, known.kind)

    def _drop(self, run_id: str, task_id: str, kind: str) -> None:
        """Delete a run; if it is a sweep's, also the runs of its trials, and if it is a scorer's, also its model."""
        self.client.delete_run(run_id)
        if kind == ScorerTask.kind:
            self.models.drop(task_id)
        if kind == SweepTask.kind:
            for trial in all_runs(self.client, self.experiment_id, f"tags.sweep_id = '{task_id}'"):
                if trial.info.run_id != run_id:
                    self.client.delete_run(trial.info.run_id)

    def others(self, plan: Plan) -> dict[str, Counter[str]]:
        """Numbers of runs of tasks outside ``plan``, such as from an earlier file, by kind and status."""
        planned_ids = {planned.task.id for planned in plan.whole or plan}
        found: dict[str, Counter[str]] = {}
        for task_id, known in self.known.items():
            if task_id not in planned_ids and known.status in (FINISHED, FAILED):
                found.setdefault(known.kind, Counter())[known.status] += 1
        return found

    def sync(self, plan: Plan) -> int:
        """Write every finished or failed task of ``plan`` that MLflow does not have; return how many."""
        news = [planned for planned in plan if not self._written(planned)]
        there = self.store.recorded(planned.task for planned in news)
        return self.log_all([planned for planned in news if planned.task.id in there])

    def log_all(self, planned: Sequence[Planned[Task]]) -> int:
        """:meth:`log` each task, several at a time if the store is a server; return how many had news.

        If the store is a database, new cells are written together, see :mod:`autosparse.tracking.database`. The error
        of one task does not stop the others.

        :raises NotAllWritten: at the end, if tasks are left.
        """
        tasks = {each.task.id: each for each in planned}  # two threads with one task would make two runs
        together = self._log_new_cells(tasks)
        once = [each for task_id, each in tasks.items() if task_id not in together]
        errors: list[AutosparseError] = []
        away = threading.Event()

        def attempt(each: Planned[Task]) -> bool | None:
            if away.is_set():
                return None
            try:
                return self.log(each)
            except AutosparseError as error:
                errors.append(error)
                if not self._answers():
                    away.set()
                return None

        writers = WRITERS if self.client.tracking_uri.startswith("http") and len(once) > 1 else 1
        with ThreadPoolExecutor(writers) as pool:
            written = list(pool.map(attempt, once))
        news = written.count(True) + len(together)
        self._note(news)
        if errors:
            left = [each for each, done in zip(once, written, strict=True) if done is None]
            raise NotAllWritten(errors[0], left) from errors[0]
        return news

    def _log_new_cells(self, tasks: Mapping[str, Planned[Task]]) -> set[str]:
        """Write the cells that have no run yet to the database, if there is one; return the ids of those written.

        If a batch cannot be written, :meth:`log` tries its cells one by one, and reports what is wrong.
        """
        written: set[str] = set()
        if self.database is None:
            return written
        cells = [each for each in tasks.values() if isinstance(each.task, Cell) and each.task.id not in self.known]
        for begin in range(0, len(cells), AT_ONCE):
            batch = cells[begin : begin + AT_ONCE]
            with contextlib.suppress(AutosparseError), tracking_errors(self.client.tracking_uri):
                written |= self._insert(self.database, batch)
        return written

    def _insert(self, database: Database, planned: Sequence[Planned[Task]]) -> set[str]:
        """Write the cells that have a record and no run, in one transaction; return their ids."""
        others = database.tasks_with_runs(self.experiment_id, [each.task.id for each in planned])
        found = [(each, self._record(each.task)) for each in planned if each.task.id not in others]
        new = [(each, self._new(each, record)) for each, record in found if record is not None]
        run_ids = database.add(self.experiment_id, [run for _, run in new])
        for run_id, (each, run) in zip(run_ids, new, strict=True):
            self._keep(each.task.id, self._as_known(run_id, each, run))
        return {each.task.id for each, _ in new}

    def _answers(self) -> bool:
        try:
            self.client.search_experiments(max_results=1)
        except Exception:  # as in tracking_errors
            return False
        return True

    def log(self, planned: Planned[Task]) -> bool:
        """Write one task's record if there is news, such as a new label; return whether there was."""
        task = planned.task
        if self._written(planned):
            return False
        record = self._record(task)
        if record is None:
            return False
        with tracking_errors(self.client.tracking_uri):
            runs = self.client.search_runs([self.experiment_id], f"tags.task_id = '{task.id}'")
            run = max(runs, key=lambda run: bool(run.info.status == FINISHED), default=None)
            finished = run is not None and run.info.status == FINISHED
            if finished:
                self._know(run)  # perhaps another driver's: keep it, perhaps under another label
                if "error" in record or self._written(planned):
                    return False
            elif run is not None:
                if told_already(run, record):
                    return False
                if run.data.metrics:
                    # half-written, perhaps from a record that is lost now
                    self._drop(str(run.info.run_id), task.id, task.kind)
                    run = None
            new = self._new(planned, record)
            if run is not None and (task.id in self.again or of_another(run, record, new.params)):
                self._drop(str(run.info.run_id), task.id, task.kind)
                run, finished = None, False
            there: Mapping[str, str] | None = None
            if run is None:
                run_id = str(self.client.create_run(self.experiment_id, new.began, new.tags, new.name).info.run_id)
            else:
                run_id, there = str(run.info.run_id), run.data.params
                name = None if run.data.tags.get("label") == planned.label else new.name  # None: as it is
                self.client.update_run(run_id, status="RUNNING", name=name)
            self._write(run_id, planned, record, new, there, renewed=finished)
            self.again.discard(task.id)
        return True

    def expect(self, task_ids: Iterable[str]) -> None:
        """Replace the runs of these tasks, which are about to be done, once there are new records.

        Their records were lost, or lie in another storage. A new result may differ from what MLflow has, for example
        because it was computed in another precision.
        """
        self.again |= {task_id for task_id in task_ids if self.known.get(task_id, Known()).status == FINISHED}

    def _record(self, task: Task) -> Record | None:
        """The record of a finished or failed task."""
        return self.store.record(task) or self.store.failure(task)

    def _new(self, planned: Planned[Task], record: Record) -> NewRun:
        return new_run(planned, record, self.parent.id, self.parent.source)

    def _as_known(self, run_id: str, planned: Planned[Task], new: NewRun) -> Known:
        names = self._once(new.params)
        return Known(run_id, new.status, planned.label, planned.task.kind, new.tags[MADE], names)

    def _written(self, planned: Planned[Task]) -> bool:
        """Whether MLflow has the task as finished, under this label, from this record, with all its settings."""
        known = self.known.get(planned.task.id, Known())
        if known.status != FINISHED or known.label != planned.label or planned.task.id in self.again:
            return False
        if isinstance(planned.task, ScorerTask):
            with tracking_errors(self.client.tracking_uri):
                if not self.models.has(known.run_id, planned.label):
                    return False
        made = self.store.made(planned.task)
        return made is None or (known.made == made.fingerprint and param_names(planned.task) <= known.params)

    def _write(
        self,
        run_id: str,
        planned: Planned[Task],
        record: Record,
        new: NewRun,
        there: Mapping[str, str] | None,
        renewed: bool,
    ) -> None:
        """Write a run's tags, params, metrics, files and status.

        :param new: the run as it would be if MLflow had none.
        :param there: the params that the run has, which MLflow lets nobody change, not even to another text of the same
            value; None if it was just made, and so has its tags.
        :param renewed: whether it had finished, but under another label or, from version 0.1.0, with fewer settings.
        """
        failed = "error" in record
        fresh = there is None
        tags = {} if fresh else tag_texts(planned, record)
        for stale in () if failed or fresh else FAILURE_TAGS & self.client.get_run(run_id).data.tags.keys():
            self.client.delete_tag(run_id, stale)
        task = planned.task
        metrics = [] if renewed else new.metrics
        data = [] if failed else inputs_of(task, record, self.store, lambda id: self.known.get(id, Known()).label)
        model = None
        if isinstance(task, ScorerTask) and not failed:
            shown = {MADE: new.tags[MADE], **shown_tags(planned, record, self.parent.source)}
            model = self.models.begin(run_id, planned, shown, new.params)
            metrics = of_model(new.metrics, model, data)  # twice the same is once
        self.client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(name, value) for name, value in new.params.items() if name not in (there or {})],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        if data:
            with self.naming_data:
                if_known(lambda: self.client.log_inputs(run_id, data))
        if task.kind in WITH_FILES and not failed:
            folder = self._log_files(run_id, task)
            if model is not None:
                self.models.end(model, run_id, folder / "scorer")
        if isinstance(task, SweepTask) and not failed:
            told = source_tags(self.parent.source, record["environment"])
            log_trials(self.client, self.experiment_id, run_id, task.id, record, told)
        self.client.set_terminated(run_id, status=new.status)
        self.renewed += renewed
        self.known[planned.task.id] = self._as_known(run_id, planned, new)

    def _log_files(self, run_id: str, task: Task) -> Path:
        """Log the sample that reports draw, and the scorer itself; a survival dataset stays where it is."""
        folder = self.store.fetched(task.kind, task.id)
        self.client.log_artifact(run_id, str(folder / "sample.parquet"))
        if (folder / "scorer").is_dir():
            self.client.log_artifacts(run_id, str(folder / "scorer"), "scorer")
        return folder
