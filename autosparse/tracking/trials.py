"""Write the trials of a sweep as child runs of the sweep's run in MLflow."""

from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from autosparse.experiment.record import Json, Record
from autosparse.tracking.described import NOTE
from autosparse.tracking.entries import ended
from autosparse.tracking.search import all_runs

TRIAL = "trial"
"""The kind of a trial's run."""
WHERE = ("device", "device_name", "precision", "dataset_fingerprint")
"""Tags that say where a trial was done; older records lack them."""


def log_trials(
    client: MlflowClient, experiment_id: str, parent: str, sweep: str, record: Record, source: Mapping[str, str]
) -> None:
    """Write each trial of a finished sweep that is not there yet.

    :param parent: the id of the sweep's run.
    :param sweep: the sweep's task id.
    :param source: tags that say where the sweep comes from.
    """
    runs = all_runs(client, experiment_id, f"tags.sweep_id = '{sweep}' and tags.kind = '{TRIAL}'")
    known = {run.data.tags["trial_id"]: run.info for run in runs}
    for number, row in enumerate(record["result"]["trials"], 1):
        trial_id = f"{sweep}/{row['id']}"
        begun = known.get(trial_id)
        if begun and begun.status != "RUNNING":
            continue
        tags = {"kind": TRIAL, "sweep_id": sweep, "trial_id": trial_id, "mlflow.parentRunId": parent, **source}
        tags[NOTE] = f"A trial of a sweep: {', '.join(f'{name} {value}' for name, value in row['fit'].items())}."[:5000]
        tags |= {"trial_status": row["status"], "scorer_id": row["id"]}
        tags |= {name: row[name][-5000:] for name in ("error", "traceback") if row.get(name)}
        tags |= {name: row[name] for name in WHERE if row.get(name)}
        info = begun or client.create_run(experiment_id, run_name=f"trial {number}", tags=tags).info
        params = [Param(name, str(value)) for name, value in row["fit"].items() if value is not None]
        client.log_batch(info.run_id, metrics=_metrics(row, ended(record)), params=params)
        client.set_terminated(info.run_id, status="FAILED" if row["status"] == "failed" else "FINISHED")


def _metrics(row: Json, now: int) -> list[Metric]:
    found = [
        Metric(name, value, now, int(numbers["epoch"]))
        for numbers in row["history"]
        for name, value in numbers.items()
        if name != "epoch"
    ]
    plain = {"epochs": row["epochs"], "value": row["value"]}
    return found + [Metric(name, float(value), now, 0) for name, value in plain.items() if value is not None]
