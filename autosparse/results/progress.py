"""Ask MLflow how far an experiment is, from any machine, whether or not its driver still runs."""

import time
from collections import Counter
from dataclasses import dataclass

from mlflow import MlflowClient

from autosparse.errors import AutosparseError
from autosparse.experiment.stages import STAGES
from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.known import FAILED, FINISHED
from autosparse.tracking.parent import RUNNING, SCHEDULED
from autosparse.tracking.search import all_runs, parent_run, summary_of

LEFT = "tasks are left, and nothing is running; `autosparse run` continues"
"""What users are told in place of SCHEDULED, MLflow's name, which says too little."""
RECENT = 50
"""Number of finished runs from which the rate is estimated."""


@dataclass(frozen=True)
class Stage:
    """One stage, with the numbers of its tasks."""

    name: str
    total: int
    done: int
    failed: int
    seconds_left: float | None
    """Estimate from the recent rate of the last driver; None before two of its tasks have ended, or if none is left."""


@dataclass(frozen=True)
class Progress:
    """The state of an experiment."""

    status: str
    """The parent run's status: RUNNING, FINISHED, FAILED, KILLED, or SCHEDULED if something is left for another run.
    If a driver was killed with SIGKILL, the status stays RUNNING."""
    stages: list[Stage]

    @property
    def over(self) -> bool:
        """Whether nothing more will come by itself."""
        return self.status != RUNNING

    @property
    def said(self) -> str:
        """The status as users are told it."""
        return LEFT if self.status == SCHEDULED else self.status


def progress_of(client: MlflowClient, experiment: str) -> Progress:
    """Count the runs of an experiment.

    :raises AutosparseError: if MLflow has no such experiment, or no parent run of it.
    """
    with tracking_errors(client.tracking_uri):
        experiment_id = find_experiment(client, experiment)
        parent = parent_run(client, experiment_id)
        if parent is None:
            raise AutosparseError(f"experiment {experiment!r} has no parent run yet; start it with `autosparse run`")
        runs = list(all_runs(client, experiment_id, "attributes.status != 'RUNNING'"))
        told = summary_of(client, parent.info.run_id)
    totals, others = told.get("tasks", {}), told.get("others", {})
    counts = Counter((run.data.tags.get("kind"), run.info.status) for run in runs)
    stages = []
    for stage in STAGES:
        name, kind = stage.plural, stage.kind
        done, failed = (counts[kind, status] - others.get(kind, {}).get(status, 0) for status in (FINISHED, FAILED))
        ends = sorted(run.info.end_time for run in runs if run.data.tags.get("kind") == kind and run.info.end_time)
        ends = ends[-(done + failed) :] if done + failed > 0 else []
        ends = [end for end in ends if end >= told.get("started_ms", 0)]  # a pause before it says nothing of the rate
        total = totals.get(name, done + failed)
        now = 1000 * time.time() if parent.info.status == RUNNING else max(ends, default=0)
        stages.append(Stage(name, total, done, failed, _seconds_left(ends, total - done - failed, now)))
    left = any(stage.total > stage.done + stage.failed for stage in stages)
    status = SCHEDULED if left and parent.info.status == FINISHED else parent.info.status  # as earlier versions left it
    return Progress(status, stages)


def _seconds_left(ends: list[int], left: int, now: float) -> float | None:
    """An estimate from the times at which tasks have recently ended, until ``now``, all in ms."""
    recent = ends[-RECENT:]
    if left <= 0 or len(recent) < 2:
        return None
    return left * (now - recent[0]) / 1000 / len(recent)
