"""Write records to MLflow: one writer, one run per task, however often it is called."""

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param, RunTag

from autosparse.errors import AutosparseError
from autosparse.experiment.lineage import fingerprint
from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.record import Json, Record
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import WITH_FILES, Store
from autosparse.experiment.tasks import ScorerTask, Task
from autosparse.tracking.client import open_experiment, tracking_errors
from autosparse.tracking.described import shown_tags, source_tags
from autosparse.tracking.entries import MADE, ended, metrics_of, param_names, params_of, run_name, tag_texts
from autosparse.tracking.inputs import inputs_of
from autosparse.tracking.known import FAILED, FINISHED, Known, of_another, told_already
from autosparse.tracking.note import SHARE, WORTH, noted_and_others, write_note
from autosparse.tracking.scorer_models import ScorerModels, if_known, of_model
from autosparse.tracking.search import SUMMARY, WHOLE, all_runs, has_summary, parent_run
from autosparse.tracking.trials import log_trials

FAILURE_TAGS = {"error", "traceback", "failed_ms"}
RUNNING, KILLED = "RUNNING", "KILLED"
SCHEDULED = "SCHEDULED"
"""The status of an experiment that has work left and no running driver, such as after a run of one stage."""
WRITERS = 8
"""Number of threads that write to a server; a file takes one at a time."""
WALL_SECONDS = "wall_seconds/"
"""Prefix of the parent run's metrics for the wall time of each stage, with a point for each time that it ran."""


class NotAllWritten(AutosparseError):
    """Some tasks could not be written: carries the first error, and the tasks that are left."""

    def __init__(self, first: AutosparseError, left: Sequence[Planned[Task]]):
        super().__init__(str(first))
        self.left = left


class Tracker:
    """Writes the records of one experiment to MLflow.

    It finds runs by their ``task_id`` tag, so that writing a record twice, after a crash or to a new server, yields
    one run.
    """

    def __init__(self, client: MlflowClient, experiment: str, store: Store):
        self.client, self.experiment, self.store = client, experiment, store
        self.source = ""
        """The experiment file, once :meth:`describe` has told it."""
        self.naming_data = threading.Lock()
        """Held while data sets are written: MLflow refuses one that two threads write for the first time."""
        with tracking_errors(client.tracking_uri):
            self.experiment_id = open_experiment(client, experiment)
            self.models = ScorerModels(client, self.experiment_id)
            self.parent = self._parent()
            self.known: dict[str, Known] = {}
            self.renewed = 0
            """Number of finished runs that were written again."""
            self._names: dict[frozenset[str], frozenset[str]] = {}
            self._noted, self._unnoted = 0, 0
            """Numbers of the finished runs in the parent's note, and of those that came since."""
            self._start()

    def _start(self) -> None:
        """Learn what MLflow has: from the parent's note, and from the runs that it lacks."""
        noted, others = noted_and_others(self.client, self.experiment_id, self.parent)
        for run in others:
            self._know(run)
        news = sum(known.status == FINISHED for known in self.known.values())
        for task_id, found in noted.items():
            self._keep(task_id, found)
        self._noted = len(noted)
        self._note(news)

    def _note(self, news: int) -> None:
        """Count new runs, and write another note if they are worth it."""
        self._unnoted += news
        if self._unnoted >= max(WORTH, self._noted // SHARE):
            self._noted, self._unnoted = write_note(self.client, self.parent, self.known), 0

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
        """Delete the runs of tasks that are done again, so that nobody reads their old figures meanwhile."""
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

    def _parent(self) -> str:
        """The run that stands for the whole experiment, with the tasks' runs as its children.

        It is made if there is none, or if somebody deleted it.
        """
        found = parent_run(self.client, self.experiment_id)
        if found is None:
            tags = {"kind": WHOLE, **source_tags(self.source)}
            found = self.client.create_run(self.experiment_id, run_name=self.experiment, tags=tags)
        return str(found.info.run_id)

    def end_untold(self) -> None:
        """End the parent run if nothing describes the experiment as a whole, as with single fits."""
        with tracking_errors(self.client.tracking_uri):
            if not has_summary(self.client, self.parent):
                self.client.set_terminated(self.parent)

    def others(self, plan: Plan) -> dict[str, dict[str, int]]:
        """Numbers of runs of tasks outside ``plan``, such as from an earlier file, by kind and status."""
        planned_ids = {planned.task.id for planned in plan.whole or plan}
        found: dict[str, dict[str, int]] = {}
        for task_id, known in self.known.items():
            if task_id not in planned_ids and known.status in (FINISHED, FAILED):
                counts = found.setdefault(known.kind, {})
                counts[known.status] = counts.get(known.status, 0) + 1
        return found

    def describe(self, summary: Json, status: str) -> None:
        """Write the summary of the whole experiment, and its status, to the parent run."""
        shown = ("preset", "source", "command", "file", "description")
        self.source = str(summary.get("file") or "")
        told = {name: str(summary[name])[:5000] for name in shown if summary.get(name)} | source_tags(self.source)
        tags = [RunTag(name, value) for name, value in told.items()]
        with tracking_errors(self.client.tracking_uri):
            self.parent = self._parent()
            self.client.log_batch(self.parent, tags=tags)
            self.client.log_dict(self.parent, summary, SUMMARY)
            if status == RUNNING:
                self.client.update_run(self.parent, status=status)
            else:
                self.client.set_terminated(self.parent, status=status)

    def spent(self, stage: str, seconds: float) -> None:
        """Add the wall time of a stage, or of a part of it, to the parent run's history."""
        with tracking_errors(self.client.tracking_uri):
            self.parent = self._parent()
            self.client.log_metric(self.parent, f"{WALL_SECONDS}{stage}", seconds, step=int(time.time()))

    def sync(self, plan: Plan) -> int:
        """Write every finished or failed task of ``plan`` that MLflow does not have; return how many."""
        news = [planned for planned in plan if not self._written(planned)]
        there = self.store.recorded(planned.task for planned in news)
        return self.log_all([planned for planned in news if planned.task.id in there])

    def log_all(self, planned: Sequence[Planned[Task]]) -> int:
        """:meth:`log` each task, several at a time if the store is a server; return how many had news.

        An error of one task does not stop the others.

        :raises NotAllWritten: at the end, if tasks are left.
        """
        once = {each.task.id: each for each in planned}.values()  # two threads with one task would make two runs
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
        self._note(written.count(True))
        if errors:
            left = [each for each, news in zip(once, written, strict=True) if news is None]
            raise NotAllWritten(errors[0], left) from errors[0]
        return written.count(True)

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
        record = self.store.record(task) or self.store.failure(task)
        if record is None:
            return False
        with tracking_errors(self.client.tracking_uri):
            run = self._run_of(task)
            finished = run is not None and run.info.status == FINISHED
            if finished:
                self._know(run)  # perhaps another driver's: keep it, perhaps under another label
                if "error" in record or self._written(planned):
                    return False
            elif run is not None:
                if told_already(run, record):
                    return False
                if run.data.metrics:
                    self.client.delete_run(run.info.run_id)  # half-written, perhaps from a record that is lost now
                    run = None
            params = params_of(task, record)
            if run is not None and of_another(run, record, params):
                self._drop(str(run.info.run_id), task.id, task.kind)
                run, finished = None, False
            if run is None:
                run_id = self._create(planned, record)
            else:
                run_id = str(run.info.run_id)
                self.client.update_run(run_id, status="RUNNING")
            self._write(run_id, planned, record, params, fresh=run is None, renewed=finished)
        return True

    def _run_of(self, task: Task) -> Any:
        """The task's present run, preferably a finished one; None if there is none, or if it was deleted."""
        runs = self.client.search_runs([self.experiment_id], f"tags.task_id = '{task.id}'")
        return max(runs, key=lambda run: bool(run.info.status == FINISHED), default=None)

    def _written(self, planned: Planned[Task]) -> bool:
        """Whether MLflow has the task as finished, under this label, from this record, with all its settings."""
        known = self.known.get(planned.task.id, Known())
        if known.status != FINISHED or known.label != planned.label:
            return False
        if isinstance(planned.task, ScorerTask):
            with tracking_errors(self.client.tracking_uri):
                if not self.models.has(known.run_id, planned.label):
                    return False
        made = self.store.made(planned.task)
        return made is None or (known.made == made.fingerprint and param_names(planned.task) <= known.params)

    def _create(self, planned: Planned[Task], record: Record) -> str:
        """Make a run that began when the task did, not when it is written."""
        tags = {"task_id": planned.task.id, "mlflow.parentRunId": self.parent, **tag_texts(planned, record)}
        tags |= shown_tags(planned, record, self.source)
        begun = ended(record) - int(1000 * record.get("result", {}).get("seconds", 0.0))
        run = self.client.create_run(self.experiment_id, begun, tags, run_name(planned))
        return str(run.info.run_id)

    def _write(
        self, run_id: str, planned: Planned[Task], record: Record, params: dict[str, str], fresh: bool, renewed: bool
    ) -> None:
        """Write a run's tags, params, metrics, files and status.

        :param fresh: whether the run was just made, and so has its tags.
        :param renewed: whether it had finished, but under another label or, from version 0.1.0, with fewer settings.
        """
        tags = {} if fresh else tag_texts(planned, record)
        failed = "error" in record
        if failed:
            tags |= {
                "error": record["error"],
                "traceback": record["traceback"][-5000:],
                "failed_ms": str(ended(record)),
            }
        for stale in () if failed or fresh else FAILURE_TAGS & self.client.get_run(run_id).data.tags.keys():
            self.client.delete_tag(run_id, stale)
        task = planned.task
        metrics = [] if failed or renewed else metrics_of(task, record["result"], ended(record))
        data = [] if failed else inputs_of(task, record, self.store, self._label_of)
        model = None
        if isinstance(task, ScorerTask) and not failed:
            shown = {MADE: fingerprint(record), **shown_tags(planned, record, self.source)}
            model = self.models.begin(run_id, planned, shown, params)
            metrics = of_model(metrics_of(task, record["result"], ended(record)), model, data)  # twice the same is once
        self.client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(name, value) for name, value in params.items()],
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
            told = source_tags(self.source, str(record["environment"].get("git_commit", "")))
            log_trials(self.client, self.experiment_id, run_id, task.id, record["result"], ended(record), told)
        status = FAILED if failed else FINISHED
        self.client.set_terminated(run_id, status=status)
        self.renewed += renewed
        made, names = fingerprint(record), self._once(params)
        self.known[planned.task.id] = Known(run_id, status, planned.label, planned.task.kind, made, names)

    def _label_of(self, task_id: str) -> str:
        """What the experiment calls a task that MLflow has; empty if it has none."""
        return self.known.get(task_id, Known()).label

    def _log_files(self, run_id: str, task: Task) -> Path:
        """Log the sample that reports draw, and the scorer itself; a survival dataset stays where it is."""
        folder = self.store.fetched(task.kind, task.id)
        self.client.log_artifact(run_id, str(folder / "sample.parquet"))
        if (folder / "scorer").is_dir():
            self.client.log_artifacts(run_id, str(folder / "scorer"), "scorer")
        return folder
