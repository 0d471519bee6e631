"""Measure how long jobs give no sign of life or make no progress, and say when that is too long. No Ray here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autosparse.experiment.tasks import Cell, Task
from autosparse.runner.jobs.cost import Weights

PROGRESS = 4.0
"""A job may run at least this many times the patience without a report."""
SLOWER = 20.0
"""It may also take this many times as long as the slowest task of its method, relative to their costs."""
MORE = 2.0
"""The wait grows by this factor each time a job is ended for the same task: perhaps the task is just slow."""
MOST_ENDED = 2
"""How often it grows at most."""


@dataclass
class _Job:
    """Seconds of a job that the driver has watched."""

    silent: float = 0.0
    """Since its last sign of life."""
    still: float = 0.0
    """Since its last report."""
    spent: float = 0.0
    """Since it last finished a task."""
    running: list[str] = field(default_factory=list)


class Signs:
    """Keeps time for the jobs of a stage.

    A sign of life is a report, or CPU time that the work has used. A process that is stopped, or waits for a mount that
    hangs, gives neither; one that computes for hours does. Only time that the driver was awake counts: if it was
    stopped with Ctrl-Z or was busy, no job is ended for that.
    """

    def __init__(self, tasks: Iterable[Task], weights: Weights, patience: float):
        """
        :param patience: seconds without a sign of life that are too long; 0: never too long.
        """
        self.tasks, self.weights, self.patience = {task.id: task for task in tasks}, weights, patience
        self._jobs: dict[str, _Job] = {}
        self._ended: dict[str, int] = {}
        self._slowest: dict[str, float] = {}
        """The slowest pace of each method, in seconds per unit of cost."""

    def hear(self, job: str, event: Mapping[str, Any]) -> None:
        """Take in the report of a job."""
        known = self._jobs.setdefault(job, _Job())
        known.silent = known.still = 0.0
        done = [task_id for task_id in event.get("task_ids", ()) if task_id in self.tasks]
        worked = [task_id for task_id in done if task_id in known.running]  # others were found finished
        if worked and (cost := self._cost(worked)) > 0:
            for method in {_method(self.tasks[task_id]) for task_id in worked}:
                self._slowest[method] = max(self._slowest.get(method, 0.0), known.spent / cost)
        if done or not known.running:
            known.spent = 0.0
        known.running = [task_id for task_id in event.get("running", ()) if task_id in self.tasks]

    def alive(self, job: str) -> None:
        """Note that the work of a job has used its CPU."""
        self._jobs.setdefault(job, _Job()).silent = 0.0

    def pass_time(self, jobs: Iterable[str], seconds: float) -> None:
        """Add ``seconds`` to the jobs that workers are doing; forget all other jobs."""
        self._jobs = {job: self._jobs.get(job, _Job()) for job in jobs}
        for job in self._jobs.values():
            job.silent, job.still, job.spent = job.silent + seconds, job.still + seconds, job.spent + seconds

    def silent(self, job: str) -> float:
        """Seconds without a sign of life."""
        return self._jobs[job].silent if job in self._jobs else 0.0

    def too_long(self, job: str) -> float:
        """Seconds without a sign of life, or without progress, if that is too long for a job; else 0."""
        known = self._jobs.get(job)
        if known is None or not self.patience:
            return 0.0
        more = MORE ** min(self._ended.get(self._key(job), 0), MOST_ENDED)
        if known.silent > more * self.patience:
            return known.silent
        methods = {_method(self.tasks[task_id]) for task_id in known.running}
        if methods and methods <= self._slowest.keys():
            expected = max(self._slowest[method] for method in methods) * self._cost(known.running)
            if known.still > more * max(PROGRESS * self.patience, SLOWER * expected):
                return known.still
        return 0.0

    def end(self, job: str) -> None:
        """Note that a job was ended because it took too long."""
        self._ended[self._key(job)] = self._ended.get(self._key(job), 0) + 1
        del self._jobs[job]

    def _key(self, job: str) -> str:
        """The first task that a job is doing; the job itself if it has not reported any."""
        return next(iter(self._jobs[job].running), job)

    def _cost(self, ids: Iterable[str]) -> float:
        return sum(self.weights(self.tasks[task_id]) for task_id in ids)


def _method(task: Task) -> str:
    """A key of tasks whose costs can be compared: what the cost model leaves out is the same for all of them."""
    return f"{task.kind} {task.criterion}" if isinstance(task, Cell) else task.kind
