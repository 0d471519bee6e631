"""The table of finished cells: what is asked with it is what MLflow has, and little is asked of MLflow."""

import gzip
import json
from dataclasses import asdict

import pytest
from builders import write_run

from autosparse.results import cell_file
from autosparse.results import cell_table as module
from autosparse.results.best import best
from autosparse.results.cell_table import ARTIFACT, OLDER, finished_cells, write_cell_table
from autosparse.results.columns import table_of
from autosparse.results.runs import Run, finished_runs
from autosparse.tracking.client import open_experiment
from autosparse.tracking.log import Tracker

HOUR = 3_600_000


@pytest.fixture
def tracker(client, store, monkeypatch):
    """The tracker of an experiment with four finished cells, an hour apart, and a table of them."""
    monkeypatch.setattr(module, "WORTH", 4)
    experiment_id = open_experiment(client, "exp")
    for seed in range(4):
        write_hourly(client, experiment_id, seed)
    tracker = Tracker(client, "exp", store)
    assert write_cell_table(tracker)
    return tracker


def write_hourly(client, experiment_id, seed):
    """Write a finished cell to MLflow, and return the id of its run."""
    tags = {"kind": "cell", "task_id": f"task-{seed}", "method": "snip", "sparsity": "0.9", "mask_sketch": "long"}
    measured, start = {"test_accuracy": 90.0 + seed}, HOUR * (seed + 1)
    about = {"start_time": start, "run_name": f"cell {seed}", "tags": tags}
    return write_run(client, experiment_id, end=start + 1000, params={"recipe.lr": "0.1"}, metrics=measured, **about)


def without_sketch(runs):
    return [{**vars(run), "tags": {k: v for k, v in run.tags.items() if k != "mask_sketch"}} for run in runs]


def tasks_by_table(client):
    """Tasks of the cells that are found with the table, which must be the runs that MLflow has."""
    found, expected = finished_cells(client, "exp"), finished_runs(client, "exp", "cell")
    assert without_sketch(found) == without_sketch(expected)
    return [run.tags["task_id"] for run in found]


def test_cells_that_finish_change_or_go_after_the_table_was_written_are_seen(tracker):
    client = tracker.client
    ids = {run.tags["task_id"]: run.run_id for run in finished_cells(client, "exp")}
    assert tasks_by_table(client) == ["task-0", "task-1", "task-2", "task-3"]
    write_hourly(client, tracker.experiment_id, 4)
    assert tasks_by_table(client)[-1] == "task-4"
    client.update_run(ids["task-1"], status="RUNNING")
    client.set_tag(ids["task-1"], "method", "grasp")
    client.set_terminated(ids["task-1"])
    tasks_by_table(client)
    assert [row["method"] for row in best(client, "exp")] == ["snip", "grasp"]
    client.delete_run(ids["task-2"])
    assert "task-2" not in tasks_by_table(client)
    client.restore_run(ids["task-2"])
    assert "task-2" in tasks_by_table(client)


def test_a_table_is_written_anew_when_enough_has_finished_and_has_what_may_be_restored(tracker):
    client, store = tracker.client, tracker.store
    assert not write_cell_table(Tracker(client, "exp", store))
    for seed in range(4, 9):
        last = write_hourly(client, tracker.experiment_id, seed)
    client.delete_run(last)
    assert write_cell_table(Tracker(client, "exp", store))
    assert not write_cell_table(Tracker(client, "exp", store)), "the deleted cell is no reason for another table"
    assert "task-8" not in tasks_by_table(client)
    client.restore_run(last)
    assert tasks_by_table(client)[-1] == "task-8"


def test_cells_that_ended_before_the_table_was_written_by_a_clock_that_has_been_set_back_are_seen(tracker):
    client, store = tracker.client, tracker.store
    for seed in (10, 11):
        run = write_hourly(client, tracker.experiment_id, seed)
        client.set_terminated(run, end_time=HOUR)
    assert not write_cell_table(Tracker(client, "exp", store))
    assert tasks_by_table(client)[-2:] == ["task-10", "task-11"]


@pytest.fixture
def file(tracker, tmp_path):
    """The content of the table's file, and a function that puts other content in its place."""
    path = tmp_path / "downloaded" / ARTIFACT
    path.parent.mkdir()
    tracker.client.download_artifacts(tracker.parent.id, ARTIFACT, str(path.parent))

    def put(content, name=ARTIFACT):
        path.with_name(name).write_bytes(content)
        tracker.client.log_artifact(tracker.parent.id, str(path.with_name(name)))

    return path.read_bytes(), put


@pytest.fixture
def asked(tracker, monkeypatch):
    """The names of the cells that MLflow was asked for."""
    names, search = [], tracker.client.search_runs

    def search_and_note(*given, **options):
        page = search(*given, **options)
        names.extend(run.info.run_name for run in page if run.data.tags["kind"] == "cell")
        return page

    monkeypatch.setattr(tracker.client, "search_runs", search_and_note)
    return names


def test_the_table_spares_asking_for_what_is_in_it(tracker, asked):
    (row,) = best(tracker.client, "exp")
    assert (row["n"], row["mean"]) == (4, 91.5)
    assert asked == ["cell 3"], "only what ended within a minute of the last, as clocks differ"


DAMAGED = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "without its begin": lambda content: content[8:],
    "one bit": lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
    "mixed": lambda content: b"PAR1" + bytes(400) + content[404:],
    "of another": lambda content: gzip.compress(content),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_table_is_passed_over(tracker, file, asked, damage):
    content, put = file
    put(damage(content))
    assert [run.tags["task_id"] for run in finished_cells(tracker.client, "exp")] == [f"task-{i}" for i in range(4)]
    assert asked == ["cell 3", "cell 2", "cell 1", "cell 0"]


@pytest.mark.parametrize("limit", ["MOST", "MOST_OF_COLUMN"])
def test_a_table_that_unpacks_to_more_than_a_table_can_be_is_not_decoded(tracker, asked, monkeypatch, limit):
    monkeypatch.setattr(cell_file, limit, 10)
    decoded = []
    monkeypatch.setattr(cell_file, "Tabled", decoded.append)
    assert len(finished_cells(tracker.client, "exp")) == 4
    assert len(asked) == 4
    assert not decoded


def test_many_rows_in_a_small_file_are_not_decoded(tmp_path, monkeypatch):
    tags = {"kind": "cell", "method": "snip", "sparsity": "0.9"}
    cell_file.write_cells(table_of([Run("a", "b", tags, {}, {})] * 50_000), tmp_path / ARTIFACT)
    monkeypatch.setattr(cell_file, "MOST", 300_000)
    assert (tmp_path / ARTIFACT).stat().st_size < 30_000
    with pytest.raises(ValueError, match="unpacks to more than a table of cells can be"):
        cell_file.read_cells(tmp_path / ARTIFACT)


def test_a_table_of_an_earlier_version_is_read(tracker, file, asked):
    runs = list(finished_cells(tracker.client, "exp"))
    asked.clear()
    _, put = file
    put(b"")
    put(gzip.compress(json.dumps([asdict(run) for run in runs]).encode()), OLDER)
    assert list(finished_cells(tracker.client, "exp")) == runs
    assert asked == ["cell 3"]


def test_a_table_of_an_earlier_version_that_is_too_large_is_not_read(tracker, file, asked, monkeypatch):
    _, put = file
    put(b"")
    put(gzip.compress(b"[" + b" " * 200 + b"]"), OLDER)
    monkeypatch.setattr(module, "MOST", 100)
    read = []
    monkeypatch.setattr(module.json, "loads", read.append)
    assert len(finished_cells(tracker.client, "exp")) == 4
    assert not read
