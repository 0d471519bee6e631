"""Ask MLflow how accurate the networks pruned by one scorer are."""

import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from autosparse.autos.scorer import CONFIG
from autosparse.errors import AutosparseError
from autosparse.files import read_record
from autosparse.results.cell_table import finished_cells
from autosparse.results.groups import groups_of
from autosparse.results.runs import Run, finished_runs
from autosparse.tracking.client import all_experiments, tracking_errors

SAME = ("weights_sha256", "backbone", "inputs", "standardisation", "in_rounds")
"""The parts of a scorer's file that decide how it prunes."""


@dataclass(frozen=True)
class Measured:
    """Mean test accuracy, in percent, of networks that the scorer pruned: they differ only in their seed."""

    experiment: str
    model: str
    dataset: str
    sparsity: float
    accuracy: float
    seeds: int
    how: str
    """What sets the group apart from others of the same place; empty if there are no others."""


def measured_with(client: MlflowClient, folder: Path, experiment: str | None = None) -> list[Measured]:
    """Accuracies of the networks that the scorer in ``folder`` has pruned, ordered by model, data set and sparsity.

    Its ablations are left out. The scorer is known by the checksum of its weights and by how it uses them, wherever its
    folder was copied to.

    :param experiment: ask only this one.
    """
    names = [experiment] if experiment else [e.name for e in all_experiments(client) if e.name != "Default"]
    return [measured for name in names for measured in _in_experiment(client, folder, name)]


def _in_experiment(client: MlflowClient, folder: Path, experiment: str) -> Iterator[Measured]:
    ours = read_record(folder / CONFIG)
    same = {run.tags["task_id"] for run in finished_runs(client, experiment, "scorer") if _is(client, run, ours)}
    if not same:
        return
    every = [
        group for group in groups_of(finished_cells(client, experiment)) if group.scorer in same and not group.ablated
    ]
    groups = sorted((group for group in every if group.values("test_accuracy")), key=lambda group: group.place)
    ways = Counter((group.place, group.note) for group in groups)
    for group in groups:
        values = group.values("test_accuracy").values()
        how = (group.note, group.name if ways[group.place, group.note] > 1 else "")
        yield Measured(experiment, *group.place, statistics.fmean(values), len(values), ", ".join(filter(None, how)))


def _is(client: MlflowClient, run: Run, ours: dict[str, object]) -> bool:
    """Whether a run's scorer prunes as ours does; its file is fetched only if their figures agree."""
    report = ours["report"]
    if not isinstance(report, dict) or run.metrics.get("held_out_r2") != report.get("held_out_r2"):
        return False
    with tempfile.TemporaryDirectory() as into:
        try:
            with tracking_errors(client.tracking_uri):
                path = client.download_artifacts(run.run_id, f"scorer/{CONFIG}", into)
            theirs = read_record(Path(path))
            return all(theirs.get(name) == ours.get(name) for name in SAME)
        except AutosparseError:  # a run without its files says nothing
            return False
