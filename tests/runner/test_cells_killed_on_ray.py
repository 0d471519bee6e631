"""A cell whose worker is killed goes on in the worker that takes its job over, and its record is the same."""

import pytest
from builders import a_grid, plan_from

from autosparse.data import load_dataset
from autosparse.errors import AutosparseError
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import FitSpec, IrpTask, ScorerTask
from autosparse.runner.driver.run import run_plan
from autosparse.runner.jobs.cost import ALIKE
from autosparse.runner.jobs.given import Means
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.runner.work.cells import run_cell
from tests.runner.killed_nets import DIES_AT, mark

STEPS = 6
"""Batches of 256 in an epoch of the digits."""
TIMES = {"seconds", "seconds_score", "seconds_train"}


def plan(**grid):
    """The plan of one cell."""
    usual = a_grid(methods=["dense"], sparsities=[0.0], recipe={"epochs": 4, "batch_size": 256})
    return plan_from(grid={**usual, **grid})


@pytest.mark.slow
def test_its_record_says_from_which_epoch_and_nothing_is_left(ray_running, tmp_path, empty_store):
    deadly = plan(models=["tests.runner.killed_nets:deadly"])
    [task] = (planned.task for planned in deadly.cells)
    mark().unlink(missing_ok=True)
    outcome = run_plan(deadly, Settings(tmp_path / "results", empty_store(tmp_path), checkpoint_every=0.0), Screen())
    assert (outcome.done, outcome.failed) == (1, [])
    assert mark().exists()
    store = Store(tmp_path / "results")
    record, undisturbed = store.record(task), run_cell(task, Store(tmp_path / "apart"), load_dataset("digits"), "cpu")
    assert record["environment"]["resumed_from"] == [DIES_AT // STEPS]
    assert store.place.within("states").names(deep=True) == []
    assert record["result"].keys() == undisturbed.keys()
    assert {name: value for name, value in record["result"].items() if name not in TIMES} == {
        name: value for name, value in undisturbed.items() if name not in TIMES
    }


def test_what_a_worker_left_that_died_after_writing_a_record_is_removed(ray_running, tmp_path, monkeypatch):
    from autosparse.runner.jobs import stage

    [task], store = [planned.task for planned in plan().cells], Store(tmp_path)

    def run_jobs(*given):
        store.finish(task, {"test_accuracy": 91.5}, {})
        store.states(task, "mark").save(3, {}, {})

    monkeypatch.setattr(stage, "_run_jobs", run_jobs)
    assert stage.run_stage([task], ALIKE, Means(store, Settings(), lambda event: None)) == ""
    assert store.steps() == {}


def test_epochs_iterations_and_generations_that_are_kept_count_as_progress(ray_running, tmp_path):
    from autosparse.runner.jobs.stage import _reached

    store = Store(tmp_path)
    one, other = (planned.task for planned in plan(methods=["snip"], sparsities=[0.5, 0.9]).cells)
    irp = IrpTask(model="lenet-300-100", dataset="digits")
    scorer = ScorerTask.on((irp.id,), FitSpec(), None)
    tasks = [one, other, irp, scorer]
    assert _reached(tasks, store) == dict.fromkeys((task.id for task in tasks), 0)
    store.states(one, "mark").save(3, {}, {})
    store.states(irp).save(2, {}, {})
    store.states(scorer).save(4, {}, {})
    assert _reached(tasks, store) == {one.id: 3, other.id: 0, irp.id: 2, scorer.id: 4}


def test_the_environment_sets_how_often_cells_are_kept(monkeypatch):
    assert Settings().checkpoint_every == 300
    for given, seconds in (("0", 0.0), ("12.5", 12.5), ("inf", float("inf"))):
        monkeypatch.setenv("AUTOSPARSE_CHECKPOINT_EVERY", given)
        assert Settings().checkpoint_every == seconds
    for given in ("-1", "nan", "often"):
        monkeypatch.setenv("AUTOSPARSE_CHECKPOINT_EVERY", given)
        with pytest.raises(AutosparseError, match="is not a number of seconds"):
            Settings()
