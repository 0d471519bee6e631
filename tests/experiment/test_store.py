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


@pytest.mark.parametrize("damage", ["gone", "truncated", "more"])
def test_an_irp_record_whose_files_are_not_those_it_was_written_for_counts_as_unfinished(store, damage):
    task = IrpTask(model="lenet-300-100", dataset="digits")
    folder = store.files_path("irp", task.id)
    folder.mkdir(parents=True)
    (folder / "part").write_text("survival")
    store.finish(task, {"accuracy": [1.0]}, {})
    assert store.record(task) is not None
    if damage == "gone":
        (folder / "part").unlink()
    elif damage == "truncated":
        (folder / "part").write_text("surv")
    else:
        (folder / "another").touch()
    assert store.record(task) is None


def test_a_second_driver_on_the_same_storage_is_refused_until_the_first_ends(tmp_path):
    with Store(tmp_path).one_driver(), pytest.raises(AutosparseError, match="another autosparse"):
        Store(tmp_path).one_driver().__enter__()
    with Store(tmp_path).one_driver():
        pass


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
