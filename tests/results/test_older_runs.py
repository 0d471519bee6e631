"""Older runs in MLflow: one that says less than its record does is completed, one of another record is replaced."""

from builders import ENVIRONMENT, a_cell, a_result, write_run

from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import FOLDERS
from autosparse.files import write_record
from autosparse.results.best import best
from autosparse.results.runs import finished_runs
from autosparse.tracking.client import open_experiment
from autosparse.tracking.entries import MADE, flat
from autosparse.tracking.log import Tracker


def planned_of(seed=0):
    return Planned(a_cell(criterion="force", sparsity=0.9, seed=seed), "force")


def write_old_record(store, task):
    record = {"id": task.id, "kind": task.kind, "spec": task.spec, "ended_ms": 1_700_000_000_000}
    path = store.root / FOLDERS[task.kind] / f"{task.id}.json"
    write_record(path, {**record, "result": a_result(), "files": {}, "environment": ENVIRONMENT})


def write_old_run(client, task, **params):
    """Write the run as version 0.1.0 did, with its defaults of the day."""
    experiment_id = open_experiment(client, "exp")
    tags = {"task_id": task.id, "kind": "cell", "label": "force", "method": "force"}
    tags |= {name: str(getattr(task, name)) for name in ("model", "dataset", "sparsity", "seed")}
    params = flat(task.model_dump(mode="json")) | params
    return write_run(client, experiment_id, params=params, metrics={"test_accuracy": 90.0}, tags=tags)


def test_a_run_of_version_0_1_0_has_its_missing_settings_added_once(client, store):
    planned = planned_of()
    write_old_record(store, planned.task)
    run_id = write_old_run(client, planned.task)
    assert Tracker(client, "exp", store).sync(Plan("exp", cells=[planned])) == 1
    (run,) = finished_runs(client, "exp", "cell")
    assert run.run_id == run_id
    assert run.params["options.rounds"] == "60"
    assert run.params["criterion_revision"] == "1"
    assert run.tags[MADE]
    assert len(client.get_metric_history(run_id, "test_accuracy")) == 1
    assert Tracker(client, "exp", store).sync(Plan("exp", cells=[planned])) == 0


def test_runs_from_before_and_of_now_with_the_same_settings_are_one_group(client, store):
    old, new = planned_of(0), planned_of(1)
    write_old_record(store, old.task)
    write_old_run(client, old.task)
    store.finish(new.task, a_result(), ENVIRONMENT)
    Tracker(client, "exp", store).sync(Plan("exp", cells=[old, new]))
    (row,) = best(client, "exp")
    assert (row["n"], row["settings"]) == (2, "")
    first, second = finished_runs(client, "exp", "cell")
    assert {**first.params, "seed": ""} == {**second.params, "seed": ""}


def test_a_run_that_was_written_with_other_defaults_than_its_record_has_is_replaced(client, store):
    """What version 0.1.0 made of a default that had changed since the work was done."""
    planned = planned_of()
    write_old_record(store, planned.task)
    run_id = write_old_run(client, planned.task, **{"recipe.lr": 0.05})
    Tracker(client, "exp", store).sync(Plan("exp", cells=[planned]))
    (run,) = finished_runs(client, "exp", "cell")
    assert run.run_id != run_id
    assert run.params["recipe.lr"] == "0.0012"
    assert run.metrics["best_accuracy"] == 91.0


def test_a_run_of_a_record_that_was_done_again_since_is_replaced(client, store):
    planned = planned_of()
    run_id = write_old_run(client, planned.task)
    store.finish(planned.task, a_result(dataset_fingerprint="aa"), ENVIRONMENT)
    tracker = Tracker(client, "exp", store)
    assert tracker.log(planned)
    (run,) = finished_runs(client, "exp", "cell")
    assert run.run_id != run_id
    assert not Tracker(client, "exp", store).log(planned)
    store.finish(planned.task, a_result(70.0, dataset_fingerprint="bb"), ENVIRONMENT)
    assert Tracker(client, "exp", store).log(planned)
    (other,) = finished_runs(client, "exp", "cell")
    assert other.run_id != run.run_id
    assert (other.metrics["test_accuracy"], other.tags["dataset_fingerprint"]) == (70.0, "bb")


def test_runs_that_are_forgotten_are_in_no_table_and_come_back_with_their_records(client, store):
    planned = planned_of()
    store.finish(planned.task, a_result(), ENVIRONMENT)
    tracker = Tracker(client, "exp", store)
    tracker.log(planned)
    tracker.forget([planned.task.id, "0" * 16])
    assert finished_runs(client, "exp", "cell") == []
    assert tracker.log(planned)
    assert len(finished_runs(client, "exp", "cell")) == 1
