"""Ask MLflow for the best settings that a sweep found."""

import contextlib
from typing import Any

from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.results.runs import finished_runs
from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.search import all_runs
from autosparse.tracking.trials import TRIAL


def best_trials(client: MlflowClient, experiment: str, sweep: str) -> list[dict[str, Any]]:
    """The trials of a finished sweep, best first; those that were stopped or that failed come last.

    :param sweep: the sweep's name in the experiment file.
    :return: rows with the settings that were searched, ``value``, ``metric``, ``epochs``, ``status``, ``scorer_id``.
    :raises AutosparseError: if the experiment has no such sweep.
    """
    sweeps = {run.tags["label"]: run for run in finished_runs(client, experiment, "sweep")}
    if not sweeps:
        raise AutosparseError(f"experiment {experiment!r} has no finished sweep in MLflow; run `autosparse sweep FILE`")
    if sweep not in sweeps:
        raise UnknownName("sweep", sweep, sweeps)
    sweep_run = sweeps[sweep]
    searched = sweep_run.tags["searched"].split(",")
    with tracking_errors(client.tracking_uri):
        experiment_id = find_experiment(client, experiment)
        ours = f"tags.sweep_id = '{sweep_run.tags['task_id']}' and tags.kind = '{TRIAL}'"
        runs = {run.data.tags["trial_id"]: run for run in all_runs(client, experiment_id, ours)}
    if not runs:
        raise AutosparseError(f"MLflow has no trials of sweep {sweep!r} any more: restore their runs there")
    rows = [
        {
            **{name: _number(run.data.params.get(name, "")) for name in searched},
            "value": run.data.metrics.get("value"),
            "metric": sweep_run.tags["metric"],
            "epochs": int(run.data.metrics.get("epochs", 0)),
            "status": run.data.tags["trial_status"],
            "scorer_id": run.data.tags["scorer_id"],
        }
        for run in runs.values()
    ]
    return sorted(rows, key=lambda row: (row["status"] != "done", -row["value"] if row["value"] is not None else 1e9))


def _number(text: str) -> int | float | str:
    """The number that an MLflow param, which is always a text, stands for; the text itself if it is not a number."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
