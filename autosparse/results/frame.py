"""The finished cells of an experiment as a pandas DataFrame."""

from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow import MlflowClient

from autosparse.results.cell_table import finished_cells
from autosparse.results.groups import groups_of
from autosparse.results.named import client_and_name

if TYPE_CHECKING:
    import pandas as pd

OF_GROUP = ("method", "model", "dataset", "sparsity")
PLACE = (*OF_GROUP, "seed")


def results(experiment: str, tracking_uri: str | None = None) -> "pd.DataFrame":
    """The finished cells of an experiment, from MLflow: :func:`frame`.

    :param experiment: its name in MLflow, or its file as :func:`autosparse.run` takes it.
    :param tracking_uri: MLflow's server or store; None: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` here.
    :raises AutosparseError: if there is no such store, or it has no such experiment.
    """
    return frame(*client_and_name(experiment, tracking_uri))


def frame(client: MlflowClient, experiment: str) -> "pd.DataFrame":
    """One row per cell, ordered by its first five columns: ``method, model, dataset, sparsity, seed``.

    ``training``, ``run_id`` and each metric follow. ``sparsity`` is what was asked for, even if a metric of that name
    tells what share of the weights was removed. If the experiment was edited, ``method`` names the variants of a method
    as reports do. ``training`` tells ways of training apart, and is empty if there is only one.

    :raises AutosparseError: if MLflow has no such experiment.
    """
    import pandas as pd

    groups = groups_of(finished_cells(client, experiment))
    columns: dict[str, Any] = {name: [] for name in (*PLACE, "training", "run_id")}
    for group in groups:
        columns["seed"] += group.seeds
        for name, value in zip((*OF_GROUP, "training"), (group.name, *group.place, group.note), strict=True):
            columns[name] += [value] * len(group.seeds)
    if groups:
        cells, at = groups[0].cells, np.concatenate([group.at for group in groups])
        columns["run_id"] = cells.run_ids(at)
        columns |= {name: cells.metric(name).values[at] for name in cells.metrics(at) if name not in PLACE}
    return pd.DataFrame(columns).sort_values(list(PLACE), ignore_index=True)
