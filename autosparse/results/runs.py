"""Finished runs as MLflow has them."""

from collections.abc import Iterable
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import ViewType

from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.log import FINISHED
from autosparse.tracking.search import all_runs


@dataclass(frozen=True)
class Run:
    """A finished run as MLflow has it."""

    run_id: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    start: int = 0
    end: int = 0
    """Milliseconds since 1970."""


def finished_runs(client: MlflowClient, experiment: str, kind: str) -> list[Run]:
    """All finished runs of one kind (``cell``, ``irp`` or ``scorer``) of an experiment, oldest first."""
    with tracking_errors(client.tracking_uri):
        return one_per_task(runs_of(client, find_experiment(client, experiment), kind))


def runs_of(
    client: MlflowClient, experiment_id: str, kind: str, since: int | None = None, view: str = ViewType.ACTIVE_ONLY
) -> list[Run]:
    """All finished runs of one kind, oldest first, even if two of them have the same task.

    :param since: only runs that ended at this time or later, in milliseconds since 1970.
    """
    asked = f"attributes.status = '{FINISHED}' and tags.kind = '{kind}'"
    asked += f" and attributes.end_time >= {since}" if since is not None else ""
    return [
        Run(
            r.info.run_id,
            r.info.run_name,
            r.data.tags,
            r.data.params,
            r.data.metrics,
            r.info.start_time,
            r.info.end_time,
        )
        for r in all_runs(client, experiment_id, asked, view)
    ][::-1]


def one_per_task(runs: Iterable[Run]) -> list[Run]:
    """The last run of each task."""
    return list({run.tags.get("task_id", run.run_id): run for run in runs}.values())
