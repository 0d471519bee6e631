"""Running experiments on a real local Ray: everything once, resumable, equal to a single process."""

import contextlib
import os
import re
import signal
import threading
from dataclasses import replace

import pytest
from builders import a_grid, plan_from
from rich.console import Console

from autosparse.data import load_dataset
from autosparse.errors import AutosparseError, DataError
from autosparse.experiment.plan import Plan
from autosparse.experiment.store import Store
from autosparse.plugins import Plugins
from autosparse.results.progress import progress_of
from autosparse.runner.driver.run import run_plan
from autosparse.runner.screen.console import Screen
from autosparse.runner.screen.tally import Tally
from autosparse.runner.settings import Settings
from autosparse.runner.work.cells import run_cell
from autosparse.tracking.client import connect
from autosparse.tracking.search import WHOLE, all_runs
from autosparse.training import Execution

pytestmark = pytest.mark.usefixtures("ray_running")

RECIPE = {"epochs": 2, "batch_size": 64}


def plan_of(name="small", **grid):
    content = {
        "name": name,
        "irp": {
            "snip": {"model": "lenet-300-100", "dataset": "digits", "iterations": 2, "seeds": [50], "recipe": RECIPE}
        },
        "scorers": {"mine": {"irp": "snip", "epochs": 2}},
        "grid": {
            **a_grid(methods=["dense", "snip", {"criterion": "autos", "scorer": "mine"}], seeds=[0, 1], recipe=RECIPE),
            **grid,
        },
    }
    return plan_from(**content)


def cells_only(name, **grid):
    return Plan(name, cells=plan_of(name, **grid).cells)


def tracked(settings, name="small"):
    client = connect(settings.tracking_uri)
    runs = all_runs(client, client.get_experiment_by_name(name).experiment_id)
    return [run for run in runs if run.data.tags["kind"] != WHOLE]


def test_an_experiment_is_done_once_as_in_one_process_and_its_missing_part_redone(settings):
    plan = plan_of()
    first = run_plan(plan, settings, Screen())
    assert (first.found, first.done, first.failed) == (0, 8, [])
    runs = tracked(settings)
    assert len(runs) == 8
    assert {run.info.status for run in runs} == {"FINISHED"}

    store = Store(settings.storage)
    for planned in plan.cells[::2]:  # one of each method
        here, there = run_cell(planned.task, store, load_dataset("digits"), "cpu"), store.record(planned.task)["result"]
        assert there["history"] == here["history"]
        assert there["density_by_layer"] == here["density_by_layer"]
        assert there["kept"] == there["total"] - round(there["total"] * planned.task.sparsity)

    again = run_plan(plan, settings, Screen())
    assert (again.found, again.done) == (8, 0)

    before = store.record(plan.cells[1].task)
    store.record_path(plan.cells[1].task).write_text('{"id": "half a rec')
    third = run_plan(plan, settings, Screen())
    assert (third.found, third.done) == (7, 1)
    assert store.record(plan.cells[1].task)["result"]["history"] == before["result"]["history"]
    assert len(tracked(settings)) == 8


@pytest.fixture
def terminal():
    """A console of 80 columns on a pseudo-terminal, and a function that closes it and returns all it was sent."""
    ours, theirs = os.openpty()
    file, sent = os.fdopen(theirs, "w"), bytearray()

    def read():
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 65536):
                sent.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()

    def close():
        file.close()
        reader.join()
        return sent.decode()

    yield Console(file=file, width=80, highlight=False), close
    close()
    os.close(ours)


def test_a_cell_that_diverges_is_marked_and_the_others_go_on_all_shown_on_a_terminal(settings, terminal, monkeypatch):
    console, close = terminal
    seen, advance = [], Tally.advance

    def advance_and_look(self, event):
        advance(self, event)
        seen.append((self.line.done, self.line.running, self.line.failed, self.line.to_do))

    monkeypatch.setattr(Tally, "advance", advance_and_look)
    plan = mixed()
    outcome = run_plan(plan, settings, Screen(console))
    assert seen[0] == (0, 1, 0, 1)
    assert seen[-1] == (1, 0, 1, 0)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", close())
    rows = re.findall(r"grid +(\d+) +(\d+) +(\d+) +(\d+) ", text)
    assert rows[0] == ("0", "0", "0", "2")
    assert rows[-1] == ("1", "0", "1", "0")

    assert outcome.done == 1
    assert "lower the learning rate" in outcome.failed[0][1]
    assert sorted(run.info.status for run in tracked(settings, "mixed")) == ["FAILED", "FINISHED"]
    assert Store(settings.storage).record(plan.cells[0].task) is None

    run_plan(plan, settings, Screen())
    assert len(tracked(settings, "mixed")) == 2


def mixed():
    """Two cells, of which one diverges."""
    grid = {"methods": ["random"], "seeds": [0], "sparsities": [0.5]}
    bad = cells_only("mixed", **grid, recipe={**RECIPE, "optimizer": "sgd", "lr": 1e30})
    return Plan("mixed", cells=bad.cells + cells_only("mixed", **grid).cells)


@pytest.mark.slow
def test_a_worker_killed_in_mid_job_loses_and_doubles_nothing(settings, monkeypatch, capsys):
    plan = cells_only("killed", methods=["random"], seeds=list(range(12)), sparsities=[0.5, 0.8])
    killed = []
    advance = Tally.advance

    def kill_the_first_worker_with_something_done(self, event):
        if not killed and event.get("task_ids"):
            killed.append(event["pid"])
            os.kill(event["pid"], signal.SIGKILL)
        advance(self, event)

    monkeypatch.setattr(Tally, "advance", kill_the_first_worker_with_something_done)
    outcome = run_plan(plan, settings, Screen())
    assert killed
    assert (outcome.done, outcome.failed) == (24, [])
    assert len({run.data.tags["cell_id"] for run in tracked(settings, "killed")}) == 24
    assert len(tracked(settings, "killed")) == 24
    assert capsys.readouterr().out == ""  # stdout is for results; Ray itself would tell of the death there


@pytest.mark.slow
def test_a_round_that_tune_gives_up_is_followed_by_another(settings, monkeypatch):
    from ray.tune import Tuner

    whole, rounds = Tuner.fit, []

    def fit(self):
        rounds.append(self)
        if len(rounds) == 1:
            raise RecursionError("maximum recursion depth exceeded")
        return whole(self)

    monkeypatch.setattr(Tuner, "fit", fit)
    outcome = run_plan(cells_only("deep", methods=["random"], seeds=[0], sparsities=[0.5]), settings, Screen())
    assert (outcome.done, outcome.failed, len(rounds)) == (1, [], 2)


@pytest.mark.slow
def test_why_workers_gave_up_is_told_and_no_pickle_is_read_for_it(settings, monkeypatch, capsys):
    from ray.tune.experiment import trial

    from autosparse.runner.jobs import stage

    class Refusing:
        def __getattr__(self, name):
            assert name not in ("load", "loads"), "what lies on the storage may be anybody's"
            return getattr(pickles, name)

    pickles = trial.cloudpickle
    monkeypatch.setattr(trial, "cloudpickle", Refusing())
    for name in ("DEATHS", "DEATHS_ALONE"):
        monkeypatch.setattr(stage, name, 0)
    plan = replace(
        cells_only("absent", methods=["random"], seeds=[0], sparsities=[0.5]), plugins=Plugins(("absent_module",))
    )
    outcome = run_plan(plan, settings, Screen())
    assert (outcome.failed, len(outcome.to_do)) == ([], 1)
    assert "absent_module" in capsys.readouterr().err


@pytest.mark.slow
def test_a_cell_that_kills_its_workers_is_marked_and_the_others_go_on(settings, monkeypatch):
    from autosparse.runner.jobs import stage

    for name in ("DEATHS", "DEATHS_ALONE"):  # tests/cluster/test_bad_machine.py has more of them
        monkeypatch.setattr(stage, name, 0)
    plan = cells_only("deadly", methods=["random"], seeds=[0, 1], sparsities=[0.5])
    deadly, run_job = plan.cells[0].task, stage.run_job

    def run_with_one_deadly_cell(config, given):
        from autosparse.runner.work import cells

        find_masks = cells._masks

        def find_masks_or_die(cell, *given):
            if cell.id == deadly.id:
                os.kill(os.getpid(), signal.SIGKILL)
            return find_masks(cell, *given)

        cells._masks = find_masks_or_die
        try:
            run_job(config, given)
        finally:
            cells._masks = find_masks

    monkeypatch.setattr(stage, "run_job", run_with_one_deadly_cell)
    outcome = run_plan(plan, settings, Screen())
    ((failed, why),) = outcome.failed
    assert (outcome.done, failed.task) == (1, deadly)
    assert "worker process died each time" in why
    assert "--retry-failed" in why
    assert sorted(run.info.status for run in tracked(settings, "deadly")) == ["FAILED", "FINISHED"]
    (run,) = [run for run in tracked(settings, "deadly") if run.info.status == "FAILED"]
    assert "Worker unexpectedly exits" in run.data.tags["traceback"]

    monkeypatch.setattr(stage, "run_job", run_job)
    outcome = run_plan(plan, replace(settings, retry_failed=True), Screen())
    assert (outcome.done, outcome.failed) == (1, [])
    assert {run.info.status for run in tracked(settings, "deadly")} == {"FINISHED"}


def test_missing_data_are_told_of_before_anything_starts(settings, tmp_path):
    plan = plan_of("absent", datasets=["mnist"])
    with pytest.raises(DataError, match="MNIST is not under"):
        run_plan(plan, Settings(settings.storage, settings.tracking_uri, data_root=tmp_path), Screen())
    assert not list(settings.storage.rglob("*.json"))
    assert progress_of(connect(settings.tracking_uri), "absent").status == "FAILED"


def test_an_unreachable_tracking_server_is_told_of_before_anything_starts(settings):
    with pytest.raises(AutosparseError, match="does not answer"):
        run_plan(plan_of(), Settings(settings.storage, "http://127.0.0.1:9"), Screen())
    assert not list(settings.storage.rglob("*.json"))


@pytest.mark.slow
def test_precision_reaches_the_workers_and_is_recorded_but_is_no_part_of_the_id(settings):
    plan = cells_only("one", methods=["dense"], seeds=[0])
    run_plan(plan, replace(settings, execution=Execution("bfloat16")), Screen())
    store = Store(settings.storage)
    there, here = (
        store.record(plan.cells[0].task)["result"],
        run_cell(plan.cells[0].task, store, load_dataset("digits"), "cpu"),
    )
    assert (there["precision"], here["precision"]) == ("bfloat16", "float32")
    losses = [result["history"]["train_loss"] for result in (there, here)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
