"""A run that is interrupted writes to MLflow what its workers finished, whether or not they told of it."""

import pytest
from builders import ENVIRONMENT, a_grid, a_result, plan_from

from autosparse.errors import Interrupted
from autosparse.experiment.store import Store
from autosparse.results.runs import finished_runs
from autosparse.runner.driver import run
from autosparse.runner.screen.console import Screen
from autosparse.tracking.client import connect


def test_what_a_worker_had_finished_and_not_told_is_in_mlflow(settings, monkeypatch):
    plan = plan_from(name="stopped", grid=a_grid(seeds=[0, 1], recipe={"epochs": 1}))

    def stopped(*_):
        Store(settings.storage).finish(plan.cells[0].task, a_result(), ENVIRONMENT)  # as a worker does
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_do", stopped)
    with pytest.raises(Interrupted, match="with 1 of 2 to do"):
        run.run_plan(plan, settings, Screen())
    (found,) = finished_runs(connect(settings.tracking_uri), "stopped", "cell")
    assert found.tags["task_id"] == plan.cells[0].task.id
