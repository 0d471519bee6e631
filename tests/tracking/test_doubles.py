"""Two MLflow runs of one task, left by an answer that was lost or by another driver: one stays."""

import pytest
from builders import ENVIRONMENT, write_run

from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.space import SweepTask
from autosparse.experiment.tasks import ScorerTask
from autosparse.tracking.log import Tracker
from autosparse.tracking.search import WHOLE, all_runs

TASK = Planned(ScorerTask(sweep="a-sweep"), "mine")


@pytest.fixture
def tracker(client, store):
    store.fail(TASK.task, "it diverged", "Traceback: ...", ENVIRONMENT)
    return Tracker(client, "exp", store)


def begun(tracker, status="RUNNING"):
    return write_run(tracker.client, tracker.experiment_id, status, tags={"task_id": TASK.task.id})


def ids_of(tracker):
    runs = all_runs(tracker.client, tracker.experiment_id)
    return [run.info.run_id for run in runs if run.data.tags.get("kind") != WHOLE]


@pytest.mark.parametrize("statuses", [("RUNNING", "FINISHED"), ("FINISHED", "RUNNING"), ("FAILED", "FINISHED")])
def test_of_two_runs_of_a_task_the_finished_one_stays(tracker, statuses):
    runs = {status: begun(tracker, status) for status in statuses}
    again = Tracker(tracker.client, "exp", tracker.store)
    assert ids_of(again) == [runs["FINISHED"]]
    assert again.others(Plan("exp")) == {"": {"FINISHED": 1}}


def test_of_two_finished_runs_of_a_task_one_stays(tracker):
    runs = {begun(tracker, "FINISHED") for _ in range(2)}
    (left,) = ids_of(Tracker(tracker.client, "exp", tracker.store))
    assert left in runs


def test_a_run_that_is_alone_stays(tracker):
    alone = begun(tracker, "FINISHED")
    for _ in range(2):
        assert ids_of(Tracker(tracker.client, "exp", tracker.store)) == [alone]


def test_a_half_written_run_gives_way_to_a_whole_one(tracker):
    half = begun(tracker)
    tracker.client.log_metric(half, "held_out_r2", 0.5)
    assert tracker.log(TASK)
    (left,) = ids_of(tracker)
    assert left != half
    assert tracker.client.get_run(left).info.status == "FAILED"


def test_the_trials_of_a_half_written_sweep_go_with_it(client, store):
    sweep = SweepTask(irp=("0" * 16,), points=({"lr": 0.1},))
    store.fail(sweep, "it diverged", "Traceback: ...", ENVIRONMENT)
    tracker = Tracker(client, "exp", store)
    half = write_run(client, tracker.experiment_id, "RUNNING", tags={"task_id": sweep.id})
    client.log_metric(half, "value", 0.5)
    tags = {"kind": "trial", "sweep_id": sweep.id, "trial_id": f"{sweep.id}/a", "mlflow.parentRunId": half}
    trial = write_run(client, tracker.experiment_id, "FINISHED", tags=tags)
    assert tracker.log(Planned(sweep, "mine"))
    assert {half, trial}.isdisjoint(ids_of(tracker))
