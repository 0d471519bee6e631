"""Finished runs as MLflow has them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import ViewType

from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.known import FINISHED
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
    """All finished runs of one kind (``cell``, ``irp``, ``scorer``, ``sweep``) of an experiment, oldest first."""
    with tracking_errors(client.tracking_uri):
        return one_per_task(runs_of(client, find_experiment(client, experiment), kind))


def runs_of(
    client: MlflowClient, experiment_id: str, kind: str, since: int | None = None, view: str = ViewType.ACTIVE_ONLY
) -> list[Run]:
    """All finished runs of one kind, oldest first, even if two of them have the same task.

    :param since: only runs that ended at this time or later, in milliseconds since 1970.
    """
    return list(newest_first(client, experiment_id, kind, since, view))[::-1]


def newest_first(
    client: MlflowClient, experiment_id: str, kind: str, since: int | None = None, view: str = ViewType.ACTIVE_ONLY
) -> Iterator[Run]:
    """The runs of :func:`runs_of`, but newest first, and page by page."""
    asked = f"attributes.status = '{FINISHED}' and tags.kind = '{kind}'"
    asked += f" and attributes.end_time >= {since}" if since is not None else ""
    for run in all_runs(client, experiment_id, asked, view):
        info, data = run.info, run.data
        yield Run(info.run_id, info.run_name, data.tags, data.params, data.metrics, info.start_time, info.end_time)


def one_per_task(runs: Iterable[Run]) -> list[Run]:
    """The last run of each task."""
    return list({run.tags.get("task_id", run.run_id): run for run in runs}.values())
