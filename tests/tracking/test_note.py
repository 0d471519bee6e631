"""The note of what MLflow has: a start with it knows what a start without it knows, and asks for less."""

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import ENVIRONMENT, a_cell, a_result, write_run

from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.tracking import log, note
from autosparse.tracking.client import open_experiment, sqlite_path
from autosparse.tracking.entries import MADE
from autosparse.tracking.known import FAILED
from autosparse.tracking.log import Tracker
from autosparse.tracking.note import ARTIFACT, NOTED, read_note, write_note
from autosparse.tracking.search import WHOLE, all_runs

CELLS = 6


@pytest.fixture
def experiment_id(client):
    return open_experiment(client, "exp")


@pytest.fixture
def noted(client, experiment_id, store):
    """The tracker of an experiment with finished cells and a note of them."""
    for seed in range(CELLS):
        write_cell(client, experiment_id, seed)
    tracker = Tracker(client, "exp", store)
    assert write_note(client, tracker.parent.id, tracker.known) == CELLS
    return tracker


def write_cell(client, experiment_id, seed, status="FINISHED", end=None):
    """Write the run of a cell to MLflow, and return its id."""
    tags = {"kind": "cell", "task_id": f"task-{seed}", "label": "snip", MADE: f"made-{seed}"}
    params = dict.fromkeys(("recipe.lr", "recipe.epochs")[: 1 + seed % 2], "1")
    return write_run(client, experiment_id, status, end, params, tags=tags)


def restarted(tracker):
    return Tracker(tracker.client, tracker.experiment, tracker.store)


def without_note(tracker):
    """What a start without the note knows; the note is gone afterwards."""
    tracker.client.delete_tag(tracker.parent.id, NOTED)
    return restarted(tracker).known


def forever(tracker, run_id):
    """Delete a run for good, as `mlflow gc` does."""
    tracker.client.delete_run(run_id)
    with closing(sqlite3.connect(sqlite_path(tracker.client.tracking_uri))) as database, database:
        for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", [run_id])


def one_of(tracker, seed=2):
    return tracker.known[f"task-{seed}"].run_id


def renamed(tracker):
    run_id = one_of(tracker)
    tracker.client.update_run(run_id, status="RUNNING")
    tracker.client.set_tag(run_id, "label", "grasp")
    tracker.client.set_terminated(run_id)


def swapped(tracker):
    """Delete one run and write another, so that there are as many as before."""
    tracker.client.delete_run(one_of(tracker, 1))
    write_cell(tracker.client, tracker.experiment_id, CELLS, end=1000)


CHANGES = {
    "nothing": lambda tracker: None,
    "a new cell": lambda tracker: write_cell(tracker.client, tracker.experiment_id, 9),
    "a running cell": lambda tracker: write_cell(tracker.client, tracker.experiment_id, 9, "RUNNING"),
    "a failed cell": lambda tracker: write_cell(tracker.client, tracker.experiment_id, 9, "FAILED"),
    "a failed cell of a slow clock": lambda tracker: write_cell(
        tracker.client, tracker.experiment_id, 9, "FAILED", 1000
    ),
    "a finished cell of a slow clock": lambda tracker: write_cell(tracker.client, tracker.experiment_id, 9, end=1000),
    "a cell under way again": lambda tracker: tracker.client.update_run(one_of(tracker), status="RUNNING"),
    "another label": renamed,
    "a deleted cell": lambda tracker: tracker.client.delete_run(one_of(tracker)),
    "a cell that is deleted for good": lambda tracker: forever(tracker, one_of(tracker)),
    "all cells deleted for good": lambda tracker: [forever(tracker, one_of(tracker, n)) for n in range(CELLS)],
    "one gone and one come": swapped,
    "a half-written double": lambda tracker: write_cell(tracker.client, tracker.experiment_id, 2, "RUNNING"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_start_with_the_note_knows_what_one_without_it_knows(noted, change):
    CHANGES[change](noted)
    known = restarted(noted).known
    assert known == without_note(noted)


def test_a_cell_that_was_restored_after_the_note_is_known(noted, client):
    gone = one_of(noted)
    client.delete_run(gone)
    again = restarted(noted)
    write_note(client, again.parent.id, again.known)
    assert "task-2" not in again.known
    client.restore_run(gone)
    assert restarted(noted).known["task-2"].run_id == gone


def test_a_second_finished_run_of_a_noted_task_is_deleted(noted, client, experiment_id):
    write_cell(client, experiment_id, 2)
    assert len(restarted(noted).known) == CELLS
    runs = [run for run in all_runs(client, experiment_id) if run.data.tags.get("kind") != WHOLE]
    assert sorted(run.data.tags["task_id"] for run in runs) == [f"task-{seed}" for seed in range(CELLS)]


def test_runs_in_the_note_are_not_read_again(noted, client, experiment_id, monkeypatch):
    write_cell(client, experiment_id, 9)
    read, search = [], client.search_runs

    def counted(*args, **kwargs):
        page = search(*args, **kwargs)
        read.extend(run.data.tags.get("task_id") for run in page)
        return page

    monkeypatch.setattr(client, "search_runs", counted)
    assert len(restarted(noted).known) == CELLS + 1
    assert sorted(filter(None, read)).count("task-9") == 1
    assert len([task_id for task_id in read if task_id]) == 2, "the new one, and one that shows how many there are"


@pytest.mark.parametrize("left", [0, 0.5, 0.99])
def test_a_note_that_was_half_written_when_its_driver_was_killed_is_left_aside(noted, client, left):
    path = note_of(noted)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole))])
    assert read_note(client, noted.parent.id) is None
    assert len(restarted(noted).known) == CELLS


def test_a_damaged_value_in_the_note_is_noticed(noted, client):
    path = note_of(noted)
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    assert read_note(client, noted.parent.id) is None


def note_of(tracker):
    (file,) = (f for f in tracker.client.list_artifacts(tracker.parent.id) if f.path == ARTIFACT)
    location = tracker.client.get_run(tracker.parent.id).info.artifact_uri.removeprefix("file://")
    return Path(location) / file.path


@pytest.fixture
def plan(store):
    """Eight cells, of which the last has failed."""
    cells = [Planned(a_cell(seed=seed), "snip") for seed in range(8)]
    for planned in cells[:-1]:
        store.finish(planned.task, RESULT, ENVIRONMENT)
    store.fail(cells[-1].task, "it diverged", "Traceback: ...", ENVIRONMENT)
    return Plan("exp", cells=cells)


RESULT = a_result(
    history={"train_loss": [2.0, 1.0], "test_accuracy": [85.0, 90.0]},
    density_by_layer={"fc1.weight": 0.1},
    device="cpu",
)


@pytest.mark.parametrize("logged", range(1, 9))
def test_wherever_a_driver_is_killed_each_cell_is_in_mlflow_once(plan, client, store, monkeypatch, logged):
    monkeypatch.setattr(log, "WORTH", 3)
    first = Tracker(client, plan.name, store)
    for planned in plan.cells[:logged]:  # the spool's batches, of one cell each; then the driver is killed
        first.log_all([planned])
    note = read_note(client, first.parent.id)
    assert len(note.known if note else ()) == 3 * (min(logged, 7) // 3)
    second = Tracker(client, plan.name, store)
    assert {task_id: known.status for task_id, known in second.known.items()} == {
        planned.task.id: first.known[planned.task.id].status for planned in plan.cells[:logged]
    }
    assert second.sync(plan) == len(plan.cells) - logged
    runs = [run for run in all_runs(client, second.experiment_id) if run.data.tags["kind"] != WHOLE]
    assert sorted(run.data.tags["task_id"] for run in runs) == sorted(planned.task.id for planned in plan.cells)
    assert [run.info.status for run in runs].count(FAILED) == 1
    assert Tracker(client, plan.name, store).sync(plan) == 0


def test_an_experiment_from_before_there_were_notes_gets_one_at_the_first_start(
    client, experiment_id, store, monkeypatch
):
    monkeypatch.setattr(log, "WORTH", CELLS)
    for seed in range(CELLS):
        write_cell(client, experiment_id, seed)
    tracker = Tracker(client, "exp", store)
    assert read_note(client, tracker.parent.id).known == tracker.known


def test_a_note_that_cannot_be_written_stops_nothing(noted, client, experiment_id, monkeypatch):
    monkeypatch.setattr(log, "WORTH", 1)
    monkeypatch.setattr(client, "log_artifact", lambda *_: (_ for _ in ()).throw(OSError("no space left on device")))
    write_cell(client, experiment_id, 9)
    assert "task-9" in restarted(noted).known
    assert "task-9" in restarted(noted).known


def test_the_note_is_of_the_last_millisecond_before_its_runs_were_listed(noted, client, monkeypatch):
    now = [1000.0]

    class Slow(dict):
        def items(self):
            now[0] += 1
            return super().items()

    monkeypatch.setattr(note, "time", SimpleNamespace(time=lambda: now[0]))
    write_note(client, noted.parent.id, Slow(noted.known))
    assert now == [1001.0]
    assert read_note(client, noted.parent.id).until == 999_999
