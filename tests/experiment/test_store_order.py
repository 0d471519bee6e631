"""A record says that its task is finished: what it tells of is there before it, in a folder and in a bucket."""

import contextlib
import os

import pytest
from builders import Killed

from autosparse.errors import CorruptFile
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.storage import Folder

TASK = IrpTask(model="lenet-300-100", dataset="digits")


@pytest.fixture(params=["folder", "bucket"])
def either_store(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return Store(tmp_path / "results")
    monkeypatch.setenv("AUTOSPARSE_CACHE", str(tmp_path / "cache"))
    return Store(request.getfixturevalue("s3")(f"order-{abs(hash(tmp_path)) % 10**12}"))


@pytest.fixture
def made(either_store):
    """The files of the task, made on this machine."""
    folder = either_store.files_path("irp", TASK.id)
    folder.mkdir(parents=True)
    (folder / "part").write_text("survival")
    return folder


def test_no_record_is_written_before_its_files(either_store, made, monkeypatch):
    def killed(name):
        raise Killed

    monkeypatch.setattr(either_store.place, "send", killed)
    with pytest.raises(Killed):
        either_store.finish(TASK, {"accuracy": [1.0]}, {})
    assert either_store.place.names(deep=True) in ([], [f"irp/{TASK.id}/part"]), "no record"
    assert either_store.recorded([TASK]) == set()


def test_a_failure_and_the_states_are_forgotten_only_after_the_record_is_written(either_store, made, monkeypatch):
    either_store.fail(TASK, "it diverged", "Traceback: ...", {})
    either_store.states(TASK).save(1, {}, {})
    write = either_store.place.write

    def killed(name, data):
        raise Killed

    monkeypatch.setattr(either_store.place, "write", killed)
    with pytest.raises(Killed):
        either_store.finish(TASK, {"accuracy": [1.0]}, {})
    assert either_store.failure(TASK)["error"] == "it diverged"
    assert either_store.states(TASK).newest().step == 1
    monkeypatch.setattr(either_store.place, "write", write)
    either_store.finish(TASK, {"accuracy": [1.0]}, {})
    assert either_store.record(TASK)["files"].keys() == {"part"}
    assert (either_store.failure(TASK), either_store.states(TASK).newest()) == (None, None)


def test_what_is_known_to_be_whole_in_a_bucket_is_not_read_again_until_it_changes(either_store, made, monkeypatch):
    either_store.finish(TASK, {"accuracy": [1.0]}, {})
    assert either_store.finished([TASK]) == {TASK.id}
    reads, read = [], either_store.place.read_stamped
    monkeypatch.setattr(either_store.place, "read_stamped", lambda name: reads.append(name) or read(name))
    assert either_store.finished([TASK]) == {TASK.id}
    assert bool(reads) == isinstance(either_store.place, Folder)
    either_store.forget(TASK)
    reads.clear()
    assert either_store.finished([TASK]) == {TASK.id}
    assert reads


@pytest.mark.parametrize("by", ["task", "id"])
def test_a_copy_of_a_buckets_files_that_is_damaged_on_this_machine_is_fetched_anew(either_store, made, by):
    either_store.finish(TASK, {"accuracy": [1.0]}, {})
    stamp = (made / "part").stat().st_mtime_ns
    (made / "part").write_text("SURVIVAL")
    os.utime(made / "part", ns=(stamp, stamp))
    whole = not isinstance(either_store.place, Folder)
    with contextlib.nullcontext() if whole or by == "task" else pytest.raises(CorruptFile, match="no whole record"):
        assert bool(either_store.record(TASK) if by == "task" else either_store.record_of("irp", TASK.id)) == whole
    assert (made / "part").read_text() == ("survival" if whole else "SURVIVAL")
