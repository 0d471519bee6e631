"""Count a stage's tasks from workers' reports, and estimate how long the rest will take."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from autosparse.experiment.tasks import Task
from autosparse.runner.jobs.cost import ALIKE, Weights
from autosparse.runner.screen.stage_table import Line, duration


class Event(TypedDict, total=False):
    """A report of a job, or an event from the driver; any key may be absent."""

    task_ids: Sequence[str]
    """Tasks that finished or failed since the last report."""
    failed: Sequence[str]
    """The tasks among them that failed."""
    running: Sequence[str]
    """Tasks that the job is doing now."""
    share: float
    """How much of their last training is done, from 0 to 1."""
    accuracy: float
    """The latest accuracy, in percent."""
    loss: float
    """The latest loss."""
    trial_id: str
    """Tune's id of the job's trial."""
    job: str
    """From the driver: the name of a job that has given no sign of life."""
    silent: float
    """Seconds for which that job has been silent."""
    warning: str
    """From the driver: a line for the user, not for the tally."""
    stop: str
    """Why the whole stage must end."""


WAITED = 60.0
"""Seconds without any worker, or without a sign of life, after which the user is told."""


@dataclass
class _Job:
    """What one job has reported; work is in the unit of costs."""

    began: float
    heard: float
    running: list[str] = field(default_factory=list)
    behind: float = 0.0
    """Work done on the running tasks."""
    work: float = 0.0
    """Work of the finished tasks."""
    silent: str = ""
    """A line on how long it has given no sign of life; empty if that is not long."""


class Tally:
    """Counts of one stage. One thread takes in events, another reads the counts."""

    def __init__(
        self, name: str, total: int, found: int = 0, failed_before: int = 0, clock: Callable[[], float] = time.monotonic
    ):
        """
        :param total: number of the stage's tasks, including the ``found`` ones, which were found finished, and those
            that ``failed_before`` and are left alone.
        """
        self.name, self.total, self.found, self.failed_before = name, total, found, failed_before
        self._clock, self._lock = clock, threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._weights: Weights = ALIKE
        self._costs: dict[str, float] = {}
        self._ahead = 0.0  # cost of the unfinished tasks
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self._jobs: dict[str, _Job] = {}
        self._latest = ""
        self._started: float | None = None
        self._ended: float | None = None

    def start(self, tasks: Sequence[Task], weights: Weights) -> None:
        """Begin the stage with the tasks that are to be done."""
        with self._lock:
            self._tasks, self._weights = {task.id: task for task in tasks}, weights
            self._costs = {task_id: weights(task) for task_id, task in self._tasks.items()}
            self._ahead = sum(self._costs.values())
            self._started, self._ended = self._clock(), None

    def stop(self) -> None:
        """End the stage: nothing is running any more."""
        with self._lock:
            self._ended = self._clock()
            for job in self._jobs.values():
                job.running, job.silent = [], ""

    def advance(self, event: Event) -> None:
        """Take in the report of a job."""
        with self._lock:
            if "silent" in event:
                self._note_silence(event)
            else:
                self._advance(event)

    def _note_silence(self, event: Event) -> None:
        now = self._clock()
        job = self._jobs.setdefault(event["trial_id"], _Job(now, now))
        job.silent = f"{event['job']} silent for {duration(event['silent'])}" if event["silent"] >= WAITED else ""

    def _advance(self, event: Event) -> None:
        now = self._clock()
        finished = [task_id for task_id in event.get("task_ids", ()) if task_id in self._tasks]
        job = self._jobs.get(event.get("trial_id", ""))
        if job is None:  # if its first report already shows work, it has worked since the stage began
            began = self._started if finished or "share" in event else None
            job = self._jobs[event.get("trial_id", "")] = _Job(now if began is None else began, now)
        done = set(finished).difference(event.get("failed", ())) - self._done
        job.work += self._cost(done)
        self._ahead -= self._cost(set(finished) - self._done - self._failed)
        self._done |= done
        self._failed = (self._failed | set(finished)) - self._done
        only = self._tasks if len(self._tasks) == 1 and not finished else ()  # a fit in this process names no task
        job.running = [
            task_id for task_id in event.get("running", only) if task_id in self._tasks and task_id not in finished
        ]
        behind = job.running if "share" in event else ()
        job.behind = sum(self._weights.behind(self._tasks[task_id], event["share"]) for task_id in behind)
        job.heard, job.silent = now, ""
        if "accuracy" in event:
            self._latest = f"{event['accuracy']:.2f} %"
        elif "loss" in event:
            self._latest = f"loss {event['loss']:.3g}"

    @property
    def line(self) -> Line:
        """The present state of the stage."""
        with self._lock:
            now = self._clock()
            running = sum(len(job.running) for job in self._jobs.values())
            done, failed = self.found + len(self._done), self.failed_before + len(self._failed)
            seconds = None if self._started is None else (self._ended or now) - self._started
            left = None if self._started is None or self._ended is not None else self._seconds_left(now)
            latest = self._latest
            if not self._jobs and self._ended is None and (seconds or 0) >= WAITED:
                latest = "no worker yet: see `ray status`"
            latest = next((job.silent for job in self._jobs.values() if job.silent), latest)
            return Line(self.name, done, failed, self.total - done - failed - running, running, seconds, left, latest)

    @property
    def share(self) -> float:
        """How much of the work is reported done, from 0 to 1."""
        with self._lock:
            whole = sum(self._costs.values())
            return 1 - (self._ahead - sum(job.behind for job in self._jobs.values())) / whole if whole else 1.0

    def _cost(self, ids: Iterable[str]) -> float:
        return sum(self._costs[task_id] for task_id in ids)

    def _seconds_left(self, now: float) -> float | None:
        """An estimate from the pace of the jobs that have reported work; None before there are any.

        It assumes that jobs go on at that pace between reports, that as many stay busy as so far, and that the stage
        waits for its longest running job. A late job is assumed to need as long again as it is late; a silent one is
        assumed to start again.
        """
        shown = [job for job in self._jobs.values() if job.work + job.behind > 0 and job.heard > job.began]
        if not shown:
            return None
        pace = sum(job.work + job.behind for job in shown) / sum(job.heard - job.began for job in shown)
        ahead, longest = self._ahead, 0.0
        for job in self._jobs.values():
            if job.silent:
                longest = max(longest, self._cost(job.running) / pace)
                continue
            rest = self._cost(job.running) - job.behind
            since = min(rest, pace * (now - job.heard))
            ahead -= job.behind + since
            longest = max(longest, abs(rest / pace - (now - job.heard)) if job.running else 0.0)
        jobs = self._jobs.values()
        worked = sum((now if job.running else job.heard) - job.began for job in jobs)
        busy = worked / (now - min(job.began for job in jobs))  # jobs at a time, on average
        return max(ahead / pace / busy, longest)
