"""Branches of IRP runs in MLflow and in reports."""

from pathlib import Path

from builders import ENVIRONMENT
from mlflow import MlflowClient

from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, IrpFields
from autosparse.report.collect import make_sections
from autosparse.results.best import best
from autosparse.results.runs import finished_runs
from autosparse.tracking.log import Tracker


def branch(iterations: int, level: int, seed: int) -> Planned[Cell]:
    run = IrpFields(model="lenet-300-100", dataset="digits", iterations=iterations)
    cell = Cell(
        model=run.model, dataset=run.dataset, criterion="irp", irp=run, level=level, sparsity=0.9, seed=seed
    )  # its IRP run has the seed of the cell
    return Planned(cell, "irp-snip")


def result(accuracy: float) -> dict[str, object]:
    numbers = ("best_accuracy", "sparsity", "kept", "total", "seconds", "seconds_score", "seconds_train")
    history = {"train_loss": [1.0], "test_accuracy": [accuracy]}
    return {**dict.fromkeys(numbers, 1.0), "history": history, "density_by_layer": {}, "collapsed_layers": []}


def test_branches_are_averaged_over_seeds_with_an_irp_run_each_and_kept_apart_from_those_of_other_runs(
    client: MlflowClient, tmp_path: Path
) -> None:
    cells = [branch(20, 10, 0), branch(20, 10, 1), branch(10, 5, 0), branch(10, 5, 1)]
    store = Store(tmp_path / "results")
    for number, planned in enumerate(cells):
        store.finish(planned.task, result(90.0 + number), ENVIRONMENT)
    Tracker(client, "exp", store).sync(Plan("exp", cells=cells))
    found = {run.tags["irp_id"] for run in finished_runs(client, "exp", "cell")}
    assert found == {planned.task.trunk.id for planned in cells if planned.task.trunk}
    assert [(row["settings"], row["n"], row["mean"]) for row in best(client, "exp")] == [
        ("irp.iterations=10", 2, 92.5),
        ("irp.iterations=20", 2, 90.5),
    ]
    [section] = make_sections(finished_runs(client, "exp", "cell"))
    means = {method.name: [point.mean for point in method.points.values()] for method in section.methods}
    assert means == {"irp-snip (irp.iterations=10)": [92.5], "irp-snip (irp.iterations=20)": [90.5]}
    assert not any(name.startswith(("irp", "level")) for name in section.settings)
