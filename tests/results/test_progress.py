"""How far an experiment is, from its runs in MLflow."""

import io

import pytest
from builders import write_run
from rich.console import Console

from autosparse.cli import common
from autosparse.cli.watch import drawn, watch
from autosparse.errors import AutosparseError, Unreachable
from autosparse.results import progress as module
from autosparse.results.progress import progress_of
from autosparse.results.runs import failed_tasks
from autosparse.tracking.client import open_experiment
from autosparse.tracking.search import SUMMARY, WHOLE


def write_task(client, experiment_id, kind, status, end=None):
    return write_run(client, experiment_id, status, end, tags={"kind": kind})


def test_tasks_of_an_earlier_file_are_not_counted_as_done(client):
    experiment_id = open_experiment(client, "exp")
    parent = write_task(client, experiment_id, WHOLE, "RUNNING")
    assert [stage.total for stage in progress_of(client, "exp").stages] == [0] * 4, "nothing is told yet"
    others = {"cell": {"FINISHED": 2, "FAILED": 1}}
    client.log_dict(parent, {"tasks": {"cells": 3}, "others": others}, SUMMARY)
    for status in ("FINISHED", "FINISHED", "FAILED", "FINISHED"):
        write_task(client, experiment_id, "cell", status, 1_000)
    cells = progress_of(client, "exp").stages[-1]
    assert (cells.total, cells.done, cells.failed) == (3, 1, 0)


def test_failed_tasks_of_an_earlier_file_are_not_counted(client):
    experiment_id = open_experiment(client, "exp")
    for _ in range(3):
        write_run(client, experiment_id, "FAILED", tags={"kind": "cell", "task_id": "a"})
    assert failed_tasks(client, "exp") == 3
    parent = write_task(client, experiment_id, WHOLE, "RUNNING")
    client.log_dict(parent, {"others": {"cell": {"FINISHED": 2, "FAILED": 1}, "irp": {"FAILED": 1}}}, SUMMARY)
    assert failed_tasks(client, "exp") == 1


def test_counts_and_time_left(client, monkeypatch):
    experiment_id = open_experiment(client, "exp")
    parent = write_task(client, experiment_id, WHOLE, "RUNNING")
    client.log_dict(parent, {"tasks": {"irp": 1, "scorers": 0, "cells": 10}}, SUMMARY)
    write_task(client, experiment_id, "irp", "FINISHED", 1_000)
    for end in (10_000, 12_000, 14_000):
        write_task(client, experiment_id, "cell", "FINISHED", end)
    write_task(client, experiment_id, "cell", "FAILED", 16_000)
    write_task(client, experiment_id, "cell", "RUNNING")
    monkeypatch.setattr(module.time, "time", lambda: 18.0)
    progress = progress_of(client, "exp")
    irp, _, scorers, cells = progress.stages
    assert (progress.status, progress.over) == ("RUNNING", False)
    assert (irp.total, irp.done, irp.failed, irp.seconds_left) == (1, 1, 0, None)
    assert (scorers.total, scorers.done) == (0, 0)
    assert (cells.total, cells.done, cells.failed) == (10, 3, 1)
    assert cells.seconds_left == pytest.approx(6 * 8 / 4), "six are left, and four took the last eight seconds"
    table = drawn("exp", progress)
    assert {column.header: list(column.cells) for column in table.columns} == {
        "stage": ["irp", "grid"],
        "done": ["1", "3"],
        "failed": ["0", "[red]1[/red]"],
        "to do": ["0", "6"],
        "time left": ["", "12 s"],
    }

    client.set_terminated(parent, "FAILED")
    assert progress_of(client, "exp").over


def test_time_left_leaves_out_the_pauses_between_drivers(client, monkeypatch):
    experiment_id = open_experiment(client, "exp")
    parent = write_task(client, experiment_id, WHOLE, "RUNNING")
    for end in (10_000, 12_000, 900_000, 904_000):
        write_task(client, experiment_id, "cell", "FINISHED", end)
    monkeypatch.setattr(module.time, "time", lambda: 906.0)

    def seconds_left(started):
        client.log_dict(parent, {"tasks": {"cells": 10}, "started_ms": started}, SUMMARY)
        return progress_of(client, "exp").stages[-1].seconds_left

    assert seconds_left(800_000) == pytest.approx(6 * 6 / 2), "two took six seconds since the driver began"
    assert seconds_left(901_000) is None
    client.set_terminated(parent, "KILLED")
    assert seconds_left(800_000) == pytest.approx(6 * 4 / 2), "nothing runs since the last one"


@pytest.mark.parametrize("status", ["FINISHED", "SCHEDULED"])
def test_an_experiment_of_which_a_stage_is_left_is_not_told_as_finished(client, status):
    experiment_id = open_experiment(client, "exp")
    parent = write_task(client, experiment_id, WHOLE, "RUNNING")
    client.log_dict(parent, {"tasks": {"irp": 1, "cells": 2}}, SUMMARY)
    write_task(client, experiment_id, "irp", "FINISHED")
    client.set_terminated(parent, status)
    progress = progress_of(client, "exp")
    assert (progress.status, progress.over) == ("SCHEDULED", True)
    assert drawn("exp", progress).title == "exp: tasks are left, and nothing is running; `autosparse run` continues"
    for cell in ("FINISHED", "FAILED"):
        write_task(client, experiment_id, "cell", cell)
    client.set_terminated(parent, "FINISHED")
    assert progress_of(client, "exp").status == "FINISHED"


def test_a_server_that_is_away_for_a_look_is_told_of_and_the_watching_goes_on(client, monkeypatch):
    def look(client, name):
        status = looks.pop(0)
        if status == "away":
            raise Unreachable(f"MLflow does not answer: [reason]{' and more' * 20}")
        return module.Progress(status, [module.Stage("cells", 3, 1, 0, None)])

    screen = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(common, "out", lambda: screen)
    monkeypatch.setattr(module, "progress_of", look)
    looks = ["RUNNING", "away", "FINISHED"]
    watch("exp", every=0.01, tracking_uri=client.tracking_uri)
    shown = screen.file.getvalue()
    assert looks == []
    assert "exp: FINISHED" in shown.rpartition("MLflow does not answer: [reason] and more")[2]
    looks = ["RUNNING", "away"]
    monkeypatch.setattr("autosparse.cli.watch.PATIENCE", 0.0)
    with pytest.raises(AutosparseError, match="does not answer"):
        watch("exp", every=0.01, tracking_uri=client.tracking_uri)


def test_an_experiment_that_never_ran_is_said(client):
    open_experiment(client, "exp")
    with pytest.raises(AutosparseError, match="has no parent run yet"):
        progress_of(client, "exp")
    with pytest.raises(AutosparseError, match="no experiment 'none'"):
        progress_of(client, "none")
