"""Asking MLflow: runs of an experiment, and the best of them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.log import FINISHED, all_runs

GROUPS = ("method", "sparsity", "model", "dataset")


@dataclass(frozen=True)
class Run:
    """A finished run as MLflow has it."""

    run_id: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


def finished_runs(client: MlflowClient, experiment: str, kind: str) -> list[Run]:
    """All finished runs of one kind (``cell``, ``irp`` or ``scorer``) of an experiment, oldest first."""
    with tracking_errors(client.tracking_uri):
        experiment_id = find_experiment(client, experiment)
        runs = all_runs(client, experiment_id, f"attributes.status = '{FINISHED}' and tags.kind = '{kind}'")
        found = [Run(r.info.run_id, r.info.run_name, r.data.tags, r.data.params, r.data.metrics) for r in runs]
    return found[::-1]


def best(
    client: MlflowClient,
    experiment: str,
    metric: str = "test_accuracy",
    sparsity: float | None = None,
    group_by: Sequence[str] = ("method", "sparsity"),
    top: int | None = None,
) -> list[dict[str, Any]]:
    """Mean of ``metric`` over seeds in each group of cells, highest first.

    :return: rows with the group's values, ``n``, ``mean``, ``std`` (of the sample; None for one seed) and ``metric``.
    :raises AutosparseError: where no cell matches, or the metric or group is unknown.
    """
    for group in group_by:
        if group not in GROUPS:
            raise UnknownName("group", group, GROUPS)
    cells = finished_runs(client, experiment, "cell")
    if sparsity is not None:
        cells = [run for run in cells if math.isclose(float(run.tags["sparsity"]), sparsity, abs_tol=1e-9)]
    if not cells:
        at = f" at sparsity {sparsity}" if sparsity is not None else ""
        raise AutosparseError(
            f"no finished cells of experiment {experiment!r}{at} in MLflow; run it with `autosparse run`"
        )
    metrics = {name for run in cells for name in run.metrics}
    if metric not in metrics:
        raise UnknownName("metric", metric, metrics)
    groups: dict[tuple[Any, ...], list[float]] = {}
    for run in cells:
        if metric in run.metrics:
            groups.setdefault(tuple(_value(run, group) for group in group_by), []).append(run.metrics[metric])
    rows = [
        {
            **dict(zip(group_by, key, strict=True)),
            "metric": metric,
            "n": len(values),
            "mean": statistics.fmean(values),
            "std": statistics.stdev(values) if len(values) > 1 else None,
        }
        for key, values in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["mean"])[:top]


def _value(run: Run, group: str) -> Any:
    return float(run.tags[group]) if group == "sparsity" else run.tags[group]
