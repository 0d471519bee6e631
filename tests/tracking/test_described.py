"""What MLflow's pages show of an experiment and its runs, for no more requests."""

import pytest
from builders import DIRTY, a_cell
from mlflow import MlflowClient

from autosparse.experiment.planned import Planned
from autosparse.experiment.tasks import IrpTask, ScorerTask
from autosparse.tracking.client import open_experiment
from autosparse.tracking.described import KIND, TRAINING, note_of
from autosparse.tracking.log import Tracker
from autosparse.tracking.parent import RUNNING

CELL = Planned(a_cell(criterion="grasp", options={"temperature": 200.0}, sparsity=0.985, seed=3), "my-grasp")


@pytest.fixture
def store_with_failed_cell(store):
    store.fail(CELL.task, "it diverged", "Traceback: ...", DIRTY)
    return store


def test_a_run_says_what_it_is_and_where_it_comes_from(client, store_with_failed_cell):
    tracker = Tracker(client, "exp", store_with_failed_cell)
    tracker.parent.describe({"file": "mine.yaml"}, RUNNING)
    tracker.log(CELL)
    tags = client.get_run(tracker.known[CELL.task.id].run_id).data.tags
    assert tags["mlflow.note.content"] == (
        "lenet-300-100 on digits, pruned by grasp (temperature=200.0) to 98.5 % sparsity, "
        "trained for 10 epochs, seed 3."
    )
    assert {
        "mlflow.source.name": "mine.yaml",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "abc",
        "mlflow.source.git.dirty": "true",
    }.items() <= tags.items()
    assert client.get_run(tracker.parent.id).data.tags["mlflow.source.name"] == "mine.yaml"


def test_other_tasks_say_what_they_are():
    irp = IrpTask(model="lenet-300-100", dataset="digits", iterations=5, final_density=0.01, seed=1)
    assert note_of(irp).startswith(
        "Iterative rewind pruning of lenet-300-100 on digits by snip: 5 iterations down to 1 %"
    )
    assert note_of(ScorerTask(irp=(irp.id,))) == "A scorer of weights, mlp on param, grad, fitted on 1 IRP run."
    assert note_of(a_cell(criterion="dense", sparsity=0.0)).startswith("lenet-300-100 on digits, not pruned, trained")


def test_a_description_that_somebody_wrote_stays(client, store_with_failed_cell):
    tracker = Tracker(client, "exp", store_with_failed_cell)
    tracker.log(CELL)
    run_id = tracker.known[CELL.task.id].run_id
    client.set_tag(run_id, "mlflow.note.content", "looks odd")
    store_with_failed_cell.fail(CELL.task, "its worker died", "Killed", DIRTY)
    assert tracker.log(CELL)
    tags = client.get_run(run_id).data.tags
    assert (tags["mlflow.note.content"], tags["error"]) == ("looks odd", "its worker died")


def test_a_new_experiment_and_an_old_one_open_on_runs_unless_somebody_chose_otherwise(client):
    assert client.get_experiment(open_experiment(client, "new")).tags[KIND] == TRAINING
    old = client.create_experiment("old")
    open_experiment(client, "old")
    assert client.get_experiment(old).tags[KIND] == TRAINING
    client.set_experiment_tag(old, KIND, "regression")
    open_experiment(client, "old")
    assert client.get_experiment(old).tags[KIND] == "regression"


def test_a_cell_takes_four_requests(client, store_with_failed_cell, monkeypatch):
    tracker, asked = Tracker(client, "exp", store_with_failed_cell), []
    requests = [name for name in vars(MlflowClient) if not name.startswith("_") and name != "tracking_uri"]
    for name in requests:
        real = getattr(client, name)
        if callable(real):
            monkeypatch.setattr(client, name, lambda *a, real=real, name=name, **o: asked.append(name) or real(*a, **o))
    tracker.log(CELL)
    assert asked == ["search_runs", "create_run", "log_batch", "set_terminated"]
