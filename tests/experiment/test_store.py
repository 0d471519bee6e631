"""Records: finished means whole, and nothing else does."""

import pytest

from autosparse.errors import AutosparseError
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, IrpTask


@pytest.fixture
def cell():
    return Cell(model="lenet-300-100", dataset="digits", criterion="snip", sparsity=0.9, seed=0)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_finished_record_comes_back_as_written(store, cell):
    store.finish(cell, {"test_accuracy": 91.5}, {"host": "here"})
    record = store.record(cell)
    assert record["result"] == {"test_accuracy": 91.5}
    assert record["spec"] == cell.spec
    assert (store.root / "cells" / f"{cell.id}.json").is_file()


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-20], lambda text: text.replace("91.5", "99.9"), lambda text: ""]
)
def test_a_damaged_record_counts_as_unfinished(store, cell, damage):
    store.finish(cell, {"test_accuracy": 91.5}, {})
    path = store.record_path(cell)
    path.write_text(damage(path.read_text()))
    assert store.record(cell) is None


def test_another_tasks_record_under_this_name_counts_as_unfinished(store, cell):
    other = cell.model_copy(update={"seed": 1})
    store.finish(other, {"test_accuracy": 1.0}, {})
    store.record_path(other).replace(store.record_path(cell))
    assert store.record(cell) is None


def test_an_irp_record_without_its_files_counts_as_unfinished(store):
    task = IrpTask(model="lenet-300-100", dataset="digits")
    store.finish(task, {"accuracy": [1.0]}, {})
    assert store.record(task) is None
    store.files_path("irp", task.id).mkdir()
    assert store.record(task) is not None


def test_a_failure_is_remembered_until_the_task_finishes(store, cell):
    store.fail(cell, "NaN", "Traceback ...", {})
    assert store.record(cell) is None
    assert store.failure(cell)["error"] == "NaN"
    store.finish(cell, {}, {})
    assert store.failure(cell) is None


def test_a_store_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AutosparseError, match="cannot write"):
        Store(tmp_path / "file" / "results").prepare()
