"""Asking MLflow for the best cells of an experiment."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.tracking.cell_table import finished_cells
from autosparse.tracking.runs import Run

LOWER_IS_BETTER = ("seconds", "images", "train_loss", "collapsed_layers", "disconnected_layers", "flops")
GROUPS = ("method", "sparsity", "model", "dataset")

Settings = tuple[tuple[str, str], ...]
"""Parameters and their values, sorted."""


def best(
    client: MlflowClient,
    experiment: str,
    metric: str = "test_accuracy",
    sparsity: float | None = None,
    group_by: Sequence[str] = ("method", "sparsity"),
    top: int | None = None,
) -> list[dict[str, Any]]:
    """Mean of ``metric`` over seeds in each group of cells, best first: highest, but lowest of times and losses.

    Only cells that differ in nothing but seed (and what is not grouped by) are averaged: where an experiment was
    edited and run again, a group has a row per recipe, told apart by ``settings``, which is otherwise empty.

    :return: rows with the group's values, ``settings``, ``metric``, ``n``, ``mean``, and ``std`` (of the sample; None
        for one seed).
    :raises AutosparseError: where no cell matches, or the metric or group is unknown.
    """
    for group in group_by:
        if group not in GROUPS:
            raise UnknownName("group", group, GROUPS)
    cells = finished_cells(client, experiment)
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
    groups: dict[tuple[Any, ...], dict[Settings, list[float]]] = {}
    for run in cells:
        if metric in run.metrics:
            variants = groups.setdefault(tuple(_value(run, group) for group in group_by), {})
            variants.setdefault(settings_of(run, "method" in group_by), []).append(run.metrics[metric])
    rows = [
        {**dict(zip(group_by, key, strict=True)), "settings": settings, "metric": metric, **_summary(values)}
        for key, variants in groups.items()
        for settings, values in zip(apart([dict(pairs) for pairs in variants]), variants.values(), strict=True)
    ]
    sign = 1 if metric.startswith(LOWER_IS_BETTER) else -1
    return sorted(rows, key=lambda row: sign * row["mean"])[:top]


def apart(groups: Sequence[Mapping[str, str]]) -> list[str]:
    """What sets each of several mappings apart from the others, as ``key=value, ...``; empty where nothing does."""
    keys = sorted({key for group in groups for key in group})
    differing = [key for key in keys if len({group.get(key) for group in groups}) > 1]
    return [", ".join(f"{key}={group.get(key, 'none')}" for key in differing) for group in groups]


def _summary(values: list[float]) -> dict[str, Any]:
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"n": len(values), "mean": statistics.fmean(values), "std": std}


def settings_of(run: Run, of_method: bool) -> Settings:
    """How a cell was trained and, with ``of_method``, how its method was set."""
    names = ("recipe.", "score_examples") + (("options.", "scorer", "ablation", "irp") if of_method else ())
    return tuple(sorted((name, value) for name, value in run.params.items() if name.startswith(names)))


def _value(run: Run, group: str) -> Any:
    return float(run.tags[group]) if group == "sparsity" else run.tags[group]
