"""An experiment's runs as MLflow has them: the parent run, its children, their histories, and where they come from."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.known import FAILED, FINISHED
from autosparse.tracking.search import all_runs, parent_run, summary_of

DIRTY = "+dirty"
"""Ending of the commit of a checkout with local changes."""
ORIGIN = ("git_commit", "host", "device", "device_name", "precision")
"""The tags that say with what code and where a run was done."""


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

    @property
    def done(self) -> float:
        """When its task was done, in milliseconds since 1970; the run may have been written later.

        ``start`` is this time less the task's seconds, which a sweep sums over trials that ran side by side.
        """
        return self.start + 1000 * self.metrics.get("seconds", 0.0)


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


def finished_by_label(client: MlflowClient, experiment: str, kind: str) -> dict[str, Run]:
    """The finished runs of an experiment's scorers or sweeps, by label.

    After edits, several tasks may have had a label. The one that the experiment's file names counts, as of the last
    time it was run. If that one is not finished, or an earlier version ran the file, the one that was done last counts.
    """
    _, summary = parent_and_summary(client, experiment)
    return by_label(finished_runs(client, experiment, kind), summary.get("named", {}).get(kind, {}))


def by_label(runs: Iterable[Run], named: Mapping[str, str]) -> dict[str, Run]:
    """The run of each label: the one whose task id is in ``named``, or else the one that was done last."""

    def rank(run: Run) -> tuple[bool, float]:
        return named.get(run.tags["label"]) == run.tags.get("task_id", ""), run.done

    return {run.tags["label"]: run for run in sorted(runs, key=rank)}


def failed_tasks(client: MlflowClient, experiment: str) -> int:
    """The number of tasks of an experiment whose last try has failed, without those that its file no longer has."""
    _, summary = parent_and_summary(client, experiment)
    gone = sum(counts.get(FAILED, 0) for counts in summary.get("others", {}).values())
    with tracking_errors(client.tracking_uri):
        found = all_runs(client, find_experiment(client, experiment), f"attributes.status = '{FAILED}'")
        return max(0, sum("task_id" in run.data.tags for run in found) - gone)


def parent_and_summary(client: MlflowClient, experiment: str) -> tuple[str | None, dict[str, Any]]:
    """The id of an experiment's parent run, and its summary; None and {} if an older store has no such run."""
    with tracking_errors(client.tracking_uri):
        run = parent_run(client, find_experiment(client, experiment))
        if run is None:
            return None, {}
        try:
            return run.info.run_id, summary_of(client, run.info.run_id)
        except (MlflowException, OSError):
            return run.info.run_id, {}


def history_of(client: MlflowClient, run_id: str, metric: str) -> list[tuple[int, float]]:
    """The points of a run's metric: steps and values."""
    with tracking_errors(client.tracking_uri):
        return [(point.step, point.value) for point in client.get_metric_history(run_id, metric)]


def run_pages(client: MlflowClient, experiment: str) -> str:
    """The start of the addresses of the experiment's runs in a browser; a run's id completes it.

    Empty if MLflow is not a server. User, password and query of the server's address are left out.
    """
    server = urlsplit(re.sub(r"://\S*@", "://", client.tracking_uri))  # a password may contain a slash, or an @
    if server.scheme not in ("http", "https"):
        return ""
    with tracking_errors(client.tracking_uri):
        found = find_experiment(client, experiment)
    return f"{server.scheme}://{server.netloc}{server.path.rstrip('/')}/#/experiments/{quote(found)}/runs/"


def facts_of(runs: Iterable[Run]) -> dict[str, Counter[str]]:
    """The commits, machines, versions and data fingerprints of the runs, and how many runs have each."""
    found = defaultdict[str, Counter[str]](Counter)
    for run in runs:
        for name, value in _facts(run):
            found[name][value] += 1
    return found


def _facts(run: Run) -> Iterable[tuple[str, str]]:
    for name, value in run.tags.items():
        if name == "git_commit" and value.endswith(DIRTY):
            yield "git commit", f"{value.removesuffix(DIRTY)} with uncommitted changes"
        elif name in ORIGIN or name.startswith("version."):
            yield name.removeprefix("version.").replace("_", " "), value
        elif name == "dataset_fingerprint" and "dataset" in run.tags:
            yield f"data {run.tags['dataset']}", f"fingerprint {value}"
