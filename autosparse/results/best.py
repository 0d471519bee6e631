"""Ask MLflow for the best cells of an experiment, or for the best settings that a sweep found."""

import contextlib
import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.results.cell_table import finished_cells
from autosparse.results.direction import direction
from autosparse.results.groups import DATA, Group, Settings, apart, groups_of, none_found
from autosparse.results.runs import finished_by_label
from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.search import all_runs
from autosparse.tracking.trials import TRIAL

GROUPS = ("method", "sparsity", "model", "dataset")


def best(
    client: MlflowClient,
    experiment: str,
    metric: str = "test_accuracy",
    sparsity: float | None = None,
    group_by: Sequence[str] | None = None,
    top: int | None = None,
) -> list[dict[str, Any]]:
    """Mean of ``metric`` over seeds in each group of cells, best first: the highest, or the lowest of a time or loss.

    Only cells that differ in nothing but the seed (and in what ``group_by`` leaves out) are averaged, see
    :mod:`autosparse.results.groups`. If an experiment was edited and run again, or if its data changed, a group has
    several rows. ``settings`` tells them apart. It also tells apart rows whose networks were trained in different ways,
    which must not be compared. It is otherwise empty.

    :param group_by: some of GROUPS; None: method and sparsity, and model and dataset if there are several.
    :return: rows with the group's values, ``settings``, ``metric``, ``n``, ``mean``, and ``std`` (of the sample; None
        for one seed).
    :raises AutosparseError: if no cell matches, or the metric or group is unknown.
    """
    for group in group_by or ():
        if group not in GROUPS:
            raise UnknownName("group", group, GROUPS)
    groups = groups_of(finished_cells(client, experiment))
    return [found.row for found in rows_of(groups, experiment, metric, sparsity, group_by, top)]


class Averaged(NamedTuple):
    """A row of :func:`best`, and the groups of cells that it is the mean of."""

    row: dict[str, Any]
    training: str
    """What sets the training of its networks apart from that of others."""
    groups: list[Group]


def rows_of(
    found: Sequence[Group],
    experiment: str,
    metric: str = "test_accuracy",
    sparsity: float | None = None,
    group_by: Sequence[str] | None = None,
    top: int | None = None,
) -> list[Averaged]:
    """The rows of :func:`best` for groups of cells.

    :param experiment: what errors call the experiment.
    """
    groups = [g for g in found if sparsity is None or math.isclose(g.sparsity, sparsity, abs_tol=1e-9)]
    if not groups:
        raise none_found(experiment, sparsity, (group.sparsity for group in found))
    if not any(group.values(metric) for group in groups):
        raise UnknownName("metric", metric, {name for group in groups for name in group.metrics})
    if group_by is None:
        several = [name for name in ("model", "dataset") if len({getattr(group, name) for group in groups}) > 1]
        group_by = ["method", "sparsity", *several]
    rows = _rows(groups, metric, group_by)
    return sorted(rows, key=lambda found: -direction(metric) * found.row["mean"])[:top]


def best_trials(client: MlflowClient, experiment: str, sweep: str) -> list[dict[str, Any]]:
    """The trials of a finished sweep, best first; those that were stopped or that failed come last.

    :param sweep: the sweep's name in the experiment file.
    :return: rows with the settings that were searched, ``value``, ``metric``, ``epochs``, ``status``, ``scorer_id``.
    :raises AutosparseError: if the experiment has no such sweep.
    """
    sweeps = finished_by_label(client, experiment, "sweep")
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


def _rows(groups: Sequence[Group], metric: str, group_by: Sequence[str]) -> list[Averaged]:
    data = _changed_data(groups)
    place = [name for name in ("model", "dataset") if name in group_by]
    found: dict[tuple[Any, ...], dict[tuple[Settings, Settings], list[Group]]] = {}
    trainings: dict[tuple[str, ...], dict[Settings, str]] = {}
    methods: dict[tuple[str, ...], dict[Settings, str]] = {}
    for group in groups:
        if group.values(metric):
            training = tuple(pair for pair in group.training if pair[0] != DATA or group.dataset in data)
            method = group.method if "method" in group_by else ()
            key = tuple(group.label if name == "method" else getattr(group, name) for name in group_by)
            found.setdefault(key, {}).setdefault((training, method), []).append(group)
            at = tuple(getattr(group, name) for name in place)
            trainings.setdefault(at, {})[training] = ""
            methods.setdefault((*at, group.label if method else ""), {})[method] = ""
    for notes in (*trainings.values(), *methods.values()):
        notes.update(zip(list(notes), apart([dict(settings) for settings in notes]), strict=True))
    rows = []
    for key, variants in found.items():
        row = dict(zip(group_by, key, strict=True))
        at = tuple(row[name] for name in place)
        notes = trainings[at]
        for (how, method), averaged in variants.items():
            what = methods[*at, row["method"] if method else ""][method]
            numbers = [value for group in averaged for value in group.values(metric).values()]
            settings = ", ".join(filter(None, (what, notes[how])))
            spread = statistics.stdev(numbers) if len(numbers) > 1 else None
            told = {"settings": settings, "metric": metric, "n": len(numbers), "mean": statistics.fmean(numbers)}
            rows.append(Averaged({**row, **told, "std": spread}, notes[how], averaged))
    return rows


def _changed_data(groups: Sequence[Group]) -> set[str]:
    """The names of data sets that have changed, so that only a fingerprint tells their versions apart."""
    told = {(group.dataset, dict(group.training).get(DATA)) for group in groups}
    names = [dataset for dataset, _ in told]
    return {name for name in names if names.count(name) > 1}


def _number(text: str) -> int | float | str:
    """The number that an MLflow param, which is always a text, stands for; the text itself if it is not a number."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
