"""A task that is done again, in another storage or after its record was lost: its new figures replace the old."""

from builders import ENVIRONMENT, a_cell, a_result

from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import Store
from autosparse.tracking.log import Tracker
from autosparse.tracking.search import WHOLE, all_runs


def runs_of(client):
    runs = all_runs(client, client.get_experiment_by_name("exp").experiment_id)
    return [run for run in runs if run.data.tags["kind"] != WHOLE]


def test_a_task_that_is_done_again_replaces_what_mlflow_has_of_it(client, store, tmp_path):
    plan = Plan("exp", cells=[Planned(a_cell(seed=seed), "snip") for seed in range(9)])
    for planned in plan.cells:
        store.finish(planned.task, a_result(90.0), ENVIRONMENT)
    Tracker(client, "exp", store).sync(plan)
    there, planned = Store(tmp_path / "there"), plan.cells[0]
    tracker = Tracker(client, "exp", there)
    assert tracker.sync(plan) == 0, "its record is not here"
    tracker.expect([planned.task.id, "a task that MLflow does not have"])
    assert not tracker.log(planned), "it is not done yet"
    before = {run.info.run_id for run in runs_of(client)}
    there.finish(planned.task, a_result(12.0), ENVIRONMENT)
    assert tracker.log(planned)
    assert not tracker.log(planned), "once is enough"
    runs = runs_of(client)
    (new,) = [run for run in runs if run.data.tags["task_id"] == planned.task.id]
    assert new.data.metrics["test_accuracy"] == 12.0
    assert len(runs) == 9
    assert len({run.info.run_id for run in runs} & before) == 8
