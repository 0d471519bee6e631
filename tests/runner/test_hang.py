"""Workers that hang, in a grid and in a sweep: ended after a while, and their work done by others."""

import os
import re
import signal
import time
from dataclasses import replace

import pytest
from builders import a_grid, plan_from

from autosparse.experiment.store import Store
from autosparse.runner.driver.run import run_plan
from autosparse.runner.screen.console import Screen
from autosparse.runner.screen.tally import Tally
from autosparse.tracking.client import connect
from autosparse.tracking.search import all_runs

pytestmark = [pytest.mark.usefixtures("ray_running"), pytest.mark.timeout(600)]

RECIPE = {"epochs": 2, "batch_size": 64}
GRID = a_grid(methods=["random"], sparsities=[0.5], recipe=RECIPE)


@pytest.fixture
def impatient(settings):
    return replace(settings, workers=2, patience=20.0)


def stop_once(monkeypatch, worth_it):
    """Stop the first worker with an event that is ``worth_it``; returns a list, which then has its process id."""
    stopped, advance = [], Tally.advance

    def stop_a_worker(self, event):
        if not stopped and "pid" in event and worth_it(event):
            os.kill(event["pid"], signal.SIGSTOP)
            stopped.append(event["pid"])
        advance(self, event)

    monkeypatch.setattr(Tally, "advance", stop_a_worker)
    return stopped


def gone(pid):
    """Whether a process ends, within two minutes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.2)
    return False


@pytest.mark.slow
def test_a_stopped_worker_is_ended_and_its_cells_are_done_by_another(impatient, monkeypatch, capsys):
    plan = plan_from(name="hung", grid={**GRID, "seeds": list(range(12)), "sparsities": [0.5, 0.8]})
    stopped = stop_once(monkeypatch, lambda event: event.get("task_ids"))
    outcome = run_plan(plan, impatient, Screen())
    assert (outcome.done, outcome.failed) == (24, [])
    warnings = [line for line in capsys.readouterr().err.splitlines() if "sign of life" in line]
    [warning] = [line for line in warnings if f"(process {stopped[0]} on " in line]  # a slow worker may be ended, too
    assert int(re.search(r"has given no sign of life for (\d+) s", warning)[1]) >= 20
    assert "its worker is ended, and its work is tried again (set AUTOSPARSE_PATIENCE to wait longer)" in warning
    assert gone(stopped[0])
    client = connect(impatient.tracking_uri)
    runs = all_runs(client, client.get_experiment_by_name("hung").experiment_id)
    cells = [run.data.tags["cell_id"] for run in runs if "cell_id" in run.data.tags]
    assert sorted(cells) == sorted(planned.task.id for planned in plan.cells)


@pytest.mark.slow
def test_work_that_hangs_is_ended_and_work_that_only_tells_nothing_is_not(impatient, monkeypatch, tmp_path, capsys):
    from autosparse.runner.jobs import stage

    plan = plan_from(name="hung", grid={**GRID, "seeds": [0, 1]})
    hangs, computes = (planned.task.id for planned in plan.cells)
    begun, run_job = tmp_path / "begun", stage.run_job

    def run_with_one_that_hangs(config, given):
        from autosparse.runner.work import cells

        find_masks = cells._masks

        def find_masks_late(cell, *given):
            with begun.open("a") as file:
                file.write(f"{cell.id}\n")
            if cell.id == hangs and begun.read_text().split().count(hangs) == 1:
                time.sleep(10_000)  # as a read from a mount that has gone
            until = time.monotonic() + 60
            while cell.id == computes and time.monotonic() < until:
                sum(range(100_000))
            return find_masks(cell, *given)

        cells._masks = find_masks_late
        try:
            run_job(config, given)
        finally:
            cells._masks = find_masks

    monkeypatch.setattr(stage, "run_job", run_with_one_that_hangs)
    outcome = run_plan(plan, impatient, Screen())
    assert (outcome.done, outcome.failed) == (2, [])
    assert sorted(begun.read_text().split()) == sorted([hangs, hangs, computes])
    assert capsys.readouterr().err.count("its worker is ended") == 1


def stops_its_reader(marker):
    """An object that stops the first process, other than this one, that unpickles it."""

    class StopsItsReader:  # in here, so that it is pickled by value: workers cannot import this module
        def __init__(self):
            self.marker, self.driver = marker, os.getpid()

        def __setstate__(self, state):
            self.__dict__.update(state)
            if os.getpid() != self.driver and not self.marker.exists():
                self.marker.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGSTOP)

    return StopsItsReader()


@pytest.mark.slow
def test_a_worker_that_hangs_before_it_has_begun_is_ended_too(impatient, monkeypatch, tmp_path, capsys):
    from autosparse.runner.jobs import hang, stage

    monkeypatch.setattr(hang, "STARTS", 90.0)
    stops, run_job = stops_its_reader(tmp_path / "stopped"), stage.run_job

    def run_after(config, given):
        assert stops.marker.exists()
        run_job(config, given)

    monkeypatch.setattr(stage, "run_job", run_after)
    outcome = run_plan(plan_from(name="hung", grid=GRID), impatient, Screen())
    assert (outcome.done, outcome.failed) == (1, [])
    assert f"process {stops.marker.read_text()} has not begun its work for" in capsys.readouterr().err


@pytest.mark.slow
def test_a_cell_that_hangs_each_time_is_marked_and_the_others_are_done(impatient, monkeypatch):
    from autosparse.runner.jobs import signs, stage

    for name in ("DEATHS", "DEATHS_ALONE"):
        monkeypatch.setattr(stage, name, 0)
    monkeypatch.setattr(signs, "MORE", 1.0)
    plan = plan_from(name="hung", grid={**GRID, "seeds": [0, 1]})
    hangs, run_job = plan.cells[0].task.id, stage.run_job

    def run_with_one_that_hangs(config, given):
        from autosparse.runner.work import cells

        find_masks = cells._masks

        def find_masks_or_hang(cell, *given):
            if cell.id == hangs:
                time.sleep(10_000)
            return find_masks(cell, *given)

        cells._masks = find_masks_or_hang
        try:
            run_job(config, given)
        finally:
            cells._masks = find_masks

    monkeypatch.setattr(stage, "run_job", run_with_one_that_hangs)
    outcome = run_plan(plan, replace(impatient, patience=10.0), Screen())
    assert outcome.done == 1
    [(planned, reason)] = outcome.failed
    assert planned.task.id == hangs
    assert "also with no job beside it: it gave no sign of life" in reason
    assert "check that the disks that it reads respond, or raise AUTOSPARSE_PATIENCE, and use --retry-failed" in reason


@pytest.mark.slow
def test_a_stopped_trial_of_a_sweep_is_ended_and_goes_on_elsewhere(impatient, monkeypatch, capsys):
    from autosparse.runner.jobs import hang

    content = {
        "irp": {"snip": {"model": "lenet-300-100", "dataset": "digits", "iterations": 2, "recipe": RECIPE}},
        "sweeps": {"rate": {"irp": "snip", "epochs": 60, "points": [{"lr": 0.001}, {"lr": 0.01}]}},
    }
    stopped, hear = [], hang.Signs.hear

    def stop_the_first_with_an_epoch_done(self, job, event):
        if not stopped and event.get("epoch", 0) >= 2:
            os.kill(event["pid"], signal.SIGSTOP)
            stopped.append(event["pid"])
        hear(self, job, event)

    monkeypatch.setattr(hang.Signs, "hear", stop_the_first_with_an_epoch_done)
    plan = plan_from(name="hung", **content)
    outcome = run_plan(plan, impatient, Screen())
    assert outcome.failed == []
    assert f"(process {stopped[0]} on " in capsys.readouterr().err
    record = Store(impatient.storage).record(plan.sweeps[0].task)
    assert [(row["status"], row["epochs"]) for row in record["result"]["trials"]] == [("done", 60)] * 2
