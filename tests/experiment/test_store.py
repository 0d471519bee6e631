"""Records: finished means whole, and nothing else does."""

import errno
import fcntl
import time

import pytest
from builders import a_cell

from autosparse.errors import AutosparseError, CannotWrite, CorruptFile, Unreachable
from autosparse.experiment.gathering import gather
from autosparse.experiment.lineage import made_by
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.files import write_record
from autosparse.storage.lock import one_driver


@pytest.fixture
def cell():
    return a_cell()


def test_a_finished_record_comes_back_as_written(store, cell):
    store.finish(cell, {"test_accuracy": 91.5}, {"host": "here"})
    record = store.record(cell)
    assert record["result"] == {"test_accuracy": 91.5}
    assert record["spec"] == cell.spec
    assert (store.root / "cells" / f"{cell.id}.json").is_file()


def test_a_record_says_when_its_task_ended_in_ms(store, cell):
    before = int(time.time() * 1000)
    store.finish(cell, {}, {})
    assert before <= store.record(cell)["ended_ms"] <= time.time() * 1000


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


def test_a_record_that_was_renamed_to_another_task_counts_as_unfinished(store, cell):
    """The checksum of such a record is right, but its spec is not the one that its id was made from."""
    other = cell.model_copy(update={"seed": 1})
    store.finish(other, {"test_accuracy": 1.0}, {})
    record = store.record(other)
    write_record(store.record_path(cell), {**record, "id": cell.id})
    assert store.record(cell) is None
    assert store.finished([cell, other]) == {other.id}
    with pytest.raises(CorruptFile, match="no whole record"):
        store.record_of("cell", cell.id)


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


def test_files_that_nobody_would_read_leave_an_irp_record_whole(store):
    task = IrpTask(model="lenet-300-100", dataset="digits")
    folder = store.files_path("irp", task.id) / "survival"
    folder.mkdir(parents=True)
    (folder / "part-00000.parquet").write_text("survival")
    store.finish(task, {"accuracy": [1.0]}, {})
    (folder / ".checkpoints").mkdir()
    for name in (".DS_Store", ".nfs0001", "notes.txt", ".checkpoints/part-00000.parquet"):
        (folder / name).touch()
    assert store.record(task) is not None
    (folder / "part-00001.parquet").touch()
    assert store.record(task) is None


@pytest.mark.parametrize("strange", [{}, {"result": [1]}, {"kind": "irp"}, {"environment": None}], ids=str)
def test_a_record_with_a_right_checksum_and_other_content_counts_as_unfinished(store, cell, strange):
    store.fail(cell, "NaN", "Traceback ...", {})
    failure = store.failure(cell)
    write_record(store.record_path(cell), {**failure, **({"result": {}, "files": {}} if strange else {}), **strange})
    assert store.record(cell) is None
    assert store.finished([cell]) == set()
    store.finish(cell, {"test_accuracy": 91.5}, {})
    assert store.record(cell) is not None


def test_a_folder_in_the_place_of_a_record_counts_as_unfinished_and_is_named(store, cell):
    store.record_path(cell).mkdir(parents=True)
    assert store.record(cell) is None
    with pytest.raises(AutosparseError, match=rf"cannot write .*{cell.id}.json: Is a directory; remove what is there"):
        store.finish(cell, {}, {})


def test_what_databases_refuse_is_not_in_a_failure(store, cell):
    store.fail(cell, "half \udc80 and zero \0", "Traceback \udc80\0", {})
    failure = store.failure(cell)
    assert failure["error"] == r"half \udc80 and zero \0"
    assert "\0" not in failure["traceback"]


def test_a_lock_that_cannot_be_had_is_not_another_driver(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(AutosparseError, match=r"cannot write .*driver.lock: No locks available"):
        Store(tmp_path).one_driver().__enter__()


def test_a_second_driver_on_the_same_storage_is_refused_until_the_first_ends(tmp_path):
    with Store(tmp_path).one_driver(), pytest.raises(AutosparseError, match="another autosparse"):
        Store(tmp_path).one_driver().__enter__()
    with Store(tmp_path).one_driver():
        pass


def test_a_storage_gets_its_identity_from_the_driver_that_holds_it(tmp_path, monkeypatch):
    store, prepare = Store(tmp_path / "new"), Store.prepare

    def prepared(self):
        with pytest.raises(AutosparseError, match="another autosparse"):
            one_driver(self.place).__enter__()
        prepare(self)

    monkeypatch.setattr(Store, "prepare", prepared)
    with store.one_driver():
        assert len(store.identity) == 32


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


def test_a_storage_is_known_again_wherever_it_is_seen(store):
    assert store.identity == ""
    store.prepare()
    own = store.identity
    store.prepare()
    assert len(own) == 32
    assert Store(store.root).identity == own
    store.require(own)


def test_a_worker_that_sees_another_storage_says_so(store):
    store.prepare()
    with pytest.raises(CannotWrite, match="is not shared: this node cannot see the driver's files"):
        store.require("that of another")


def test_a_record_of_another_task_or_kind_is_not_what_was_written_for_this_one(store, cell):
    store.finish(cell, {}, {})
    assert store.written("cell", cell.id)["spec"] == cell.spec
    write_record(store.record_path(cell), {**store.record(cell), "kind": "irp"})
    assert store.written("cell", cell.id) is None
    assert store.written("cell", "0" * 16) is None


def test_what_made_a_result_is_kept_until_the_result_is_another(store, cell, monkeypatch):
    assert store.made(cell) is None
    store.finish(cell, {"dataset_fingerprint": "aa"}, {})
    assert store.made(cell) == made_by(store.record(cell))
    with monkeypatch.context() as patch:
        patch.setattr(store, "record", lambda task: pytest.fail("read again"))
        assert store.made(cell).data == "aa"
    store.finish(cell, {"dataset_fingerprint": "bb"}, {})
    assert store.made(cell).data == "bb"


def fails(*_):
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("broken", "ask"),
    [
        ("within", lambda store, cell: store.finished([cell])),
        ("read", lambda store, cell: store.record(cell)),
        ("stamp", lambda store, cell: store.record(cell)),
        ("read", lambda store, cell: store.identity),
        ("stamp", lambda store, cell: gather(store)),
        ("read", lambda store, cell: gather(store)),
    ],
    ids=["list", "record", "stamp", "identity", "stamp-to-gather", "record-to-gather"],
)
def test_a_folder_that_does_not_answer_is_unreachable_and_not_empty(store, cell, monkeypatch, broken, ask):
    store.finish(cell, {}, {})
    monkeypatch.setattr(type(store.place), broken, fails)
    with pytest.raises(Unreachable, match=r"cannot read .*: Input/output error; make it readable, or choose another"):
        ask(store, cell)
