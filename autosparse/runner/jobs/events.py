"""What a job in its worker process tells the driver, through Ray Tune."""

import math
import time
from collections.abc import Collection, Mapping, Sequence

from ray import tune

from autosparse.experiment.record import Json
from autosparse.experiment.tasks import Cell, Task

NEWS_EVERY, SHARE_EVERY = 0.5, 2.0
"""Least seconds between two reports, and where there is nothing but a share to tell: each waits for the driver."""


class Reports:
    """Reports of one job: see :data:`autosparse.runner.screen.tally.Event`.

    What comes too early for a report goes with the next.
    """

    def __init__(self, found: Sequence[str], failed: Collection[str] = ()):
        """
        :param found: ids of tasks of the job that need not be done; ``failed``: those of them that have failed.
        """
        self.finished, self.failed, self.running = list(found), list(failed), list[str]()
        self.last: Mapping[str, float] = {}
        self.now: Mapping[str, float] = {}
        self.sent = -math.inf

    def progress(self, tasks: Sequence[Task], numbers: Mapping[str, float]) -> None:
        """The job is at these tasks; ``numbers`` may have their ``share``, and an ``accuracy`` or ``loss``."""
        news = self.running != [task.id for task in tasks]
        self.running, self.now = [task.id for task in tasks], numbers
        if time.monotonic() - self.sent > (NEWS_EVERY if news else SHARE_EVERY):
            self.send()

    def finish(self, task: Task, outcome: Json | Exception) -> None:
        """A task has been recorded."""
        self.finished.append(task.id)
        if isinstance(outcome, Exception):
            self.failed.append(task.id)
        elif isinstance(task, Cell):
            self.last = {"accuracy": outcome["test_accuracy"]}

    def end(self) -> None:
        """The job has done its tasks."""
        self.running, self.now = [], {}
        self.send()

    def send(self) -> None:
        """Report now."""
        tasks = {"task_ids": self.finished, "failed": self.failed, "running": self.running}
        tune.report({**tasks, **self.last, **self.now})
        self.finished, self.failed, self.last, self.sent = [], [], {}, time.monotonic()
