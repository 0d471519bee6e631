"""MLflow runs from records: one per task, complete, rebuilt into a new store; and what is asked of them."""

import functools
import statistics

import pytest
from builders import ENVIRONMENT, a_cell, a_result
from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import Store
from autosparse.results.best import best
from autosparse.results.runs import finished_runs
from autosparse.runner.driver.doctor import checkup
from autosparse.tracking.client import connect, find_experiment
from autosparse.tracking.curves import unpack
from autosparse.tracking.known import FINISHED
from autosparse.tracking.log import NotAllWritten, Tracker
from autosparse.tracking.parent import RUNNING
from autosparse.tracking.search import WHOLE, all_runs
from autosparse.training import Recipe

ACCURACY = {("snip", 0.9): [90.0, 92.0, 94.0], ("random", 0.9): [80.0, 81.0, 85.0], ("snip", 0.95): [70.0, 72.0, 71.0]}


def measured(accuracy):
    return a_result(
        accuracy,
        history={"train_loss": [2.0, 1.0], "test_accuracy": [accuracy - 5, accuracy]},
        density_by_layer={"fc1.weight": 0.1},
        effective_sparsity=0.93,
        effective_kept=7,
        disconnected_layers=["fc1.weight"],
        flops_dense=200,
        flops_pruned=20,
        mask_sketch="0123abcd:AAAA",
        device="cpu",
    )


@pytest.fixture
def plan():
    cells = [
        Planned(a_cell(criterion=method, sparsity=sparsity, seed=seed), method)
        for method, sparsity in ACCURACY
        for seed in range(3)
    ]
    return Plan("exp", cells=cells)


@pytest.fixture
def finished_store(store, plan):
    for planned in plan.cells:
        accuracy = ACCURACY[planned.task.criterion, planned.task.sparsity][planned.task.seed]
        store.finish(planned.task, measured(accuracy), ENVIRONMENT)
    return store


def runs_of(client):
    runs = all_runs(client, client.get_experiment_by_name("exp").experiment_id)
    return [run for run in runs if run.data.tags["kind"] != WHOLE]


def without_database(client, store):
    """A tracker that writes task by task, as to a server."""
    tracker = Tracker(client, "exp", store)
    tracker.database = None
    return tracker


def test_a_cell_becomes_one_run_with_all_that_people_filter_by(client, finished_store, plan):
    Tracker(client, "exp", finished_store).log(plan.cells[1])
    (run,) = runs_of(client)
    cell = plan.cells[1].task
    assert run.info.status == "FINISHED"
    expected = {
        "cell_id": cell.id, "kind": "cell", "method": "snip", "model": "lenet-300-100", "dataset": "digits",
        "sparsity": "0.9", "seed": "1", "git_commit": "abc", "version.torch": "2.0",
    }  # fmt: skip
    assert expected.items() <= run.data.tags.items()
    assert run.data.params["recipe.lr"] == "0.0012"
    expected = {"test_accuracy": 92.0, "best_accuracy": 93.0, "density/fc1.weight": 0.1, "seconds": 1.5, "seed": 1.0}
    assert expected.items() <= run.data.metrics.items()
    history = client.get_metric_history(run.info.run_id, "test_accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 87.0), (2, 92.0)]


def test_a_cell_has_the_measures_of_its_masks(client, finished_store, plan):
    Tracker(client, "exp", finished_store).log(plan.cells[0])
    (run,) = runs_of(client)
    assert run.data.tags["mask_sketch"] == "0123abcd:AAAA"
    expected = {"effective_sparsity": 0.93, "effective_kept": 7, "disconnected_layers": 1}
    expected |= {"flops_dense": 200, "flops_pruned": 20, "flops_share": 0.1}
    assert expected.items() <= run.data.metrics.items()


def test_a_cell_tells_on_what_it_ran_and_how_its_training_went(client, finished_store, plan):
    where = {"device_name": "A GPU", "gpus_per_job": 0.25}
    more = {"device": "cuda", "images": 120, "parameters": 110, "dataset_fingerprint": "1e35"}
    more |= {"left_out": {"names": ["rnn.weight_ih_l0"], "share": 0.25}}
    finished_store.finish(plan.cells[0].task, measured(50.0) | more, ENVIRONMENT | where)
    Tracker(client, "exp", finished_store).log(plan.cells[0])
    (run,) = runs_of(client)
    expected = {"device": "cuda", "device_name": "A GPU", "gpus_per_job": "0.25", "dataset_fingerprint": "1e35"}
    expected |= {"not_prunable": "rnn.weight_ih_l0 (25 % of the parameters)"}
    assert expected.items() <= run.data.tags.items()
    assert {"images": 120, "parameters": 110}.items() <= run.data.metrics.items()
    assert unpack(run.data.tags["curves"]) == {"epochs": [1, 2], "train_loss": [2, 1], "test_accuracy": [45, 50]}


def test_a_cell_whose_masks_changed_tells_how_far(client, finished_store, plan):
    changed = {"steps": [5, 10], "kept": [7, 7], "overlap": [0.9, 0.4], "ever_alive": [0.1, 0.25]}
    finished_store.finish(plan.cells[0].task, measured(50.0) | {"masks_changed": changed}, ENVIRONMENT)
    Tracker(client, "exp", finished_store).log(plan.cells[0])
    (run,) = runs_of(client)
    assert {"mask_changes": 2, "mask_overlap": 0.4, "mask_ever_alive": 0.25}.items() <= run.data.metrics.items()


def test_a_cell_that_could_not_be_measured_is_logged_without(client, finished_store, plan):
    measures = ("effective_sparsity", "effective_kept", "disconnected_layers", "flops_dense", "flops_pruned")
    plain = {name: value for name, value in measured(50.0).items() if name not in (*measures, "mask_sketch")}
    finished_store.finish(plan.cells[0].task, plain, ENVIRONMENT)
    Tracker(client, "exp", finished_store).log(plan.cells[0])
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"
    assert not run.data.tags.keys() & {"mask_sketch", "not_prunable"}
    assert not run.data.metrics.keys() & {*measures, "flops_share"}


def test_syncing_again_adds_nothing(client, finished_store, plan):
    assert Tracker(client, "exp", finished_store).sync(plan) == 9
    assert Tracker(client, "exp", finished_store).sync(plan) == 0
    assert len(runs_of(client)) == 9


def test_a_run_that_a_crash_left_half_written_is_completed_not_doubled(client, finished_store, plan):
    tracker = Tracker(client, "exp", finished_store)
    client.create_run(tracker.experiment_id, tags={"task_id": plan.cells[0].task.id})
    assert Tracker(client, "exp", finished_store).sync(plan) == 9
    runs = runs_of(client)
    assert len(runs) == 9
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_run_that_another_driver_has_finished_meanwhile_is_left_as_it_is(client, finished_store, plan):
    stale = Tracker(client, "exp", finished_store)
    Tracker(client, "exp", finished_store).sync(plan)
    theirs = {run.info.run_id for run in runs_of(client)}
    assert stale.sync(plan) == 0
    assert {run.info.run_id for run in runs_of(client)} == theirs
    assert stale.others(Plan("exp")) == {"cell": {"FINISHED": 9}}


def test_a_failure_on_another_storage_leaves_a_finished_run_as_it_is(client, finished_store, plan, tmp_path):
    there, planned = Store(tmp_path / "there"), plan.cells[0]
    there.fail(planned.task, "it diverged", "Traceback: ...", ENVIRONMENT)
    stale = Tracker(client, "exp", there)
    Tracker(client, "exp", finished_store).log(planned)
    (before,) = runs_of(client)
    for label in ("snip", "my-snip"):
        assert not stale.log(Planned(planned.task, label))
    (run,) = runs_of(client)
    assert (run.info.run_id, run.info.status) == (before.info.run_id, "FINISHED")


def test_a_failed_run_that_was_deleted_while_the_driver_works_is_written_anew(client, finished_store, plan):
    planned = plan.cells[0]
    finished_store.record_path(planned.task).unlink()
    finished_store.fail(planned.task, "it diverged", "Traceback: ...", ENVIRONMENT)
    tracker = Tracker(client, "exp", finished_store)
    tracker.log(planned)
    (run,) = runs_of(client)
    client.delete_run(run.info.run_id)
    finished_store.finish(planned.task, measured(50.0), ENVIRONMENT)
    assert tracker.log(planned)
    (run,) = runs_of(client)
    assert (run.info.status, run.data.metrics["test_accuracy"]) == ("FINISHED", 50.0)


def test_a_finished_run_that_was_deleted_is_whole_when_it_is_written_under_a_new_label(client, finished_store, plan):
    tracker = Tracker(client, "exp", finished_store)
    tracker.log(plan.cells[0])
    (run,) = runs_of(client)
    client.delete_run(run.info.run_id)
    tracker.log(Planned(plan.cells[0].task, "my-snip"))
    (run,) = runs_of(client)
    assert (run.data.tags["method"], run.data.metrics["test_accuracy"]) == ("my-snip", 90.0)


def test_a_parent_run_that_was_deleted_while_the_driver_works_is_made_anew(client, finished_store, plan):
    tracker = Tracker(client, "exp", finished_store)
    tracker.parent.describe({}, RUNNING)
    client.delete_run(tracker.parent.id)
    tracker.parent.spent("grid", 1.5)
    tracker.log(plan.cells[0])
    tracker.parent.describe({"file": "exp.yaml"}, FINISHED)
    (parent,) = all_runs(client, tracker.experiment_id, f"tags.kind = '{WHOLE}'")
    assert (parent.info.status, parent.data.metrics) == ("FINISHED", {"wall_seconds/grid": 1.5})
    assert runs_of(client)[0].data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_a_new_server_is_rebuilt_from_the_records(client, finished_store, plan, tmp_path):
    Tracker(client, "exp", finished_store).sync(plan)
    new = connect(f"sqlite:///{tmp_path / 'new.db'}")
    assert Tracker(new, "exp", finished_store).sync(plan) == 9
    assert best(new, "exp") == best(client, "exp")


def test_a_failure_becomes_a_failed_run_that_a_later_success_turns_into_a_finished_one(client, finished_store, plan):
    planned = plan.cells[0]
    finished_store.record_path(planned.task).unlink()
    finished_store.fail(planned.task, "it diverged", "Traceback: ...", ENVIRONMENT)
    Tracker(client, "exp", finished_store).log(planned)
    (run,) = runs_of(client)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "it diverged"
    assert not Tracker(client, "exp", finished_store).log(planned), "it is told already"

    finished_store.fail(planned.task, "its worker died", "Killed", ENVIRONMENT)
    assert Tracker(client, "exp", finished_store).log(planned)
    (run,) = runs_of(client)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "its worker died")

    finished_store.finish(planned.task, measured(50.0), ENVIRONMENT)
    Tracker(client, "exp", finished_store).log(planned)
    (run,) = runs_of(client)
    assert (run.info.status, run.data.metrics["test_accuracy"]) == ("FINISHED", 50.0)


def test_best_aggregates_over_seeds_highest_first(client, finished_store, plan):
    Tracker(client, "exp", finished_store).sync(plan)
    rows = best(client, "exp")
    assert [(row["method"], row["sparsity"], row["n"]) for row in rows] == [
        ("snip", 0.9, 3),
        ("random", 0.9, 3),
        ("snip", 0.95, 3),
    ]
    for row in rows:
        values = ACCURACY[row["method"], row["sparsity"]]
        assert row["mean"] == pytest.approx(statistics.mean(values))
        assert row["std"] == pytest.approx(statistics.stdev(values))


def test_best_takes_another_metric_group_sparsity_and_top(client, finished_store, plan):
    Tracker(client, "exp", finished_store).sync(plan)
    (row,) = best(client, "exp", metric="best_accuracy", sparsity=0.9, group_by=["method"], top=1)
    assert (row["method"], row["n"], row["mean"]) == ("snip", 3, 93.0)
    assert best(client, "exp", group_by=["model"])[0]["n"] == 9


def test_best_says_what_is_unknown(client, finished_store, plan):
    Tracker(client, "exp", finished_store).sync(plan)
    with pytest.raises(UnknownName, match="did you mean 'test_accuracy'"):
        best(client, "exp", metric="test_acuracy")
    with pytest.raises(UnknownName, match="did you mean 'method'"):
        best(client, "exp", group_by=["methods"])
    with pytest.raises(AutosparseError, match=r"no finished cells .* at sparsity 0\.5"):
        best(client, "exp", sparsity=0.5)
    with pytest.raises(AutosparseError, match="it holds exp"):
        finished_runs(client, "other", "cell")


def test_every_experiment_is_named_and_counted_over_however_many_pages_mlflow_lists_them(client, monkeypatch):
    names = [f"exp-{number}" for number in range(5)]
    for name in names:
        client.create_experiment(name)
    a_page = functools.partialmethod(MlflowClient.search_experiments, max_results=2)  # the default is 1,000
    monkeypatch.setattr(MlflowClient, "search_experiments", a_page)
    with pytest.raises(AutosparseError, match=f"it holds {', '.join(names)}$"):
        find_experiment(client, "other")
    found = {finding.check: finding for finding in checkup(client.tracking_uri, None, None, skip_ray=True)}
    assert "answers, 6 experiments" in found["mlflow store"].detail


def test_one_seed_has_no_deviation(client, finished_store, plan):
    Tracker(client, "exp", finished_store).log(plan.cells[0])
    assert best(client, "exp")[0]["std"] is None


def test_a_task_reported_twice_is_handed_to_one_of_the_threads_that_write(client, finished_store, plan, monkeypatch):
    tracker, written = without_database(client, finished_store), []
    monkeypatch.setattr(tracker.client._tracking_client, "tracking_uri", "http://server:5000")
    monkeypatch.setattr(tracker, "log", lambda planned: written.append(planned.task.id) or True)
    assert tracker.client.tracking_uri.startswith("http")
    assert tracker.log_all([*plan.cells, *plan.cells]) == len(plan.cells)
    assert sorted(written) == sorted(planned.task.id for planned in plan.cells)


def test_a_task_that_mlflow_refuses_keeps_no_other_from_being_written(client, finished_store, plan, monkeypatch):
    tracker, log = without_database(client, finished_store), Tracker.log
    refused = plan.cells[0].task.id

    def some(self, planned):
        if planned.task.id == refused:
            raise AutosparseError("refused")
        return log(self, planned)

    monkeypatch.setattr(Tracker, "log", some)
    with pytest.raises(NotAllWritten, match="refused") as told:
        tracker.sync(plan)
    assert told.value.left == plan.cells[:1]
    assert {run.data.tags["task_id"] for run in runs_of(client)} == {p.task.id for p in plan.cells[1:]}


def test_a_server_that_is_away_is_not_asked_for_each_task(client, finished_store, plan, monkeypatch):
    tracker, asked = without_database(client, finished_store), []

    def away(planned):
        asked.append(planned)
        raise AutosparseError("away")

    monkeypatch.setattr(tracker, "log", away)
    monkeypatch.setattr(tracker, "_answers", lambda: False)
    with pytest.raises(NotAllWritten, match="away") as told:
        tracker.log_all(plan.cells)
    assert len(asked) == 1
    assert told.value.left == plan.cells


def test_best_keeps_recipes_apart_when_an_experiment_was_edited_and_run_again(client, finished_store, plan):
    longer = [
        Planned(p.task.model_copy(update={"recipe": Recipe(epochs=20)}), p.label)
        for p in plan.cells
        if p.task.sparsity == 0.95
    ]
    for planned in longer:
        finished_store.finish(planned.task, measured(99.0), ENVIRONMENT)
    Tracker(client, "exp", finished_store).sync(Plan("exp", cells=plan.cells + longer))
    rows = best(client, "exp", sparsity=0.95)
    assert [(row["settings"], row["n"], row["mean"]) for row in rows] == [
        ("recipe.epochs=20", 3, 99.0),
        ("recipe.epochs=10", 3, 71.0),
    ]


def test_a_method_that_was_renamed_has_its_new_name_in_its_old_run(client, finished_store, plan):
    Tracker(client, "exp", finished_store).sync(plan)
    renamed = Plan("exp", cells=[Planned(p.task, f"my-{p.label}") for p in plan.cells])
    Tracker(client, "exp", finished_store).sync(renamed)
    assert {run.info.run_name.split()[0] for run in runs_of(client)} == {"my-snip", "my-random"}
    assert len(runs_of(client)) == 9
    assert {row["method"] for row in best(client, "exp")} == {"my-snip", "my-random"}
