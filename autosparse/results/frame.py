"""The finished cells of an experiment as a pandas DataFrame."""

from typing import TYPE_CHECKING

from mlflow import MlflowClient

from autosparse.results.cell_table import finished_cells
from autosparse.results.groups import groups_of

if TYPE_CHECKING:
    import pandas as pd

PLACE = ("method", "model", "dataset", "sparsity", "seed")


def frame(client: MlflowClient, experiment: str) -> "pd.DataFrame":
    """One row per cell, ordered by its place; columns ``method, model, dataset, sparsity, seed, run_id``, each metric.

    If the experiment was edited, ``method`` names the variants of a method as reports do. ``training`` tells ways of
    training apart, and is empty if there is only one.

    :raises AutosparseError: if MLflow has no such experiment.
    """
    import pandas as pd

    rows = [
        {
            **dict(zip(PLACE, (group.name, *group.place, seed), strict=True)),
            "training": group.note,
            "run_id": run.run_id,
            **run.metrics,
        }
        for group in groups_of(finished_cells(client, experiment))
        for seed, run in group.runs.items()
    ]
    found = pd.DataFrame(rows, columns=None if rows else [*PLACE, "training", "run_id"])
    return found.sort_values(list(PLACE), ignore_index=True)
