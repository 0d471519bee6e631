"""What a job in its worker process tells the driver, through Ray Tune."""

import math
import time
from collections.abc import Collection, Mapping, Sequence

from ray import tune

from autosparse.experiment.record import Json
from autosparse.experiment.tasks import Cell, Task

NEWS_EVERY, SHARE_EVERY = 0.5, 2.0
"""Least seconds between reports if tasks began, and if only the share has changed: a report waits for the driver."""
AT_ONCE = 64
"""Jobs that report so often. If there are more, each reports less often, so that they are not held up by one another:
Ray Tune's loop takes some hundred reports a second."""


class Reports:
    """Reports of one job: see :data:`autosparse.runner.screen.tally.Event`.

    News that comes too early for a report goes into the next.
    """

    def __init__(self, found: Sequence[str], failed: Collection[str] = (), jobs: int = 1):
        """
        :param found: ids of the job's tasks that need not be done.
        :param failed: ids of those among them that have failed.
        :param jobs: number of jobs that run side by side.
        """
        self.slower = max(1.0, jobs / AT_ONCE)
        self.finished, self.failed, self.running = list(found), list(failed), list[str]()
        self.last: Mapping[str, float] = {}
        self.now: Mapping[str, float] = {}
        self.sent = -math.inf

    def progress(self, tasks: Sequence[Task], numbers: Mapping[str, float]) -> None:
        """Note which tasks the job is doing; ``numbers`` may have their ``share``, and an ``accuracy`` or ``loss``."""
        news = self.running != [task.id for task in tasks]
        self.running, self.now = [task.id for task in tasks], numbers
        if time.monotonic() - self.sent > self.slower * (NEWS_EVERY if news else SHARE_EVERY):
            self.send()

    def finish(self, task: Task, outcome: Json | Exception) -> None:
        """Note that a task has been recorded."""
        self.finished.append(task.id)
        if isinstance(outcome, Exception):
            self.failed.append(task.id)
        elif isinstance(task, Cell):
            self.last = {"accuracy": outcome["test_accuracy"]}

    def end(self) -> None:
        """Report that the job has done its tasks."""
        self.running, self.now = [], {}
        self.send()

    def send(self) -> None:
        """Report now."""
        tasks = {"task_ids": self.finished, "failed": self.failed, "running": self.running}
        tune.report({**tasks, **self.last, **self.now})
        self.finished, self.failed, self.last, self.sent = [], [], {}, time.monotonic()
