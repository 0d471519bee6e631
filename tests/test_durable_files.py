"""What outlives a crash of the machine, and what is said of a disk that is full."""

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from autosparse.errors import CannotWrite
from autosparse.files import PROBE, atomic_folder, make_folder, require_writable, write_atomic


@pytest.fixture
def synced(monkeypatch):
    """Names of what is synced, in order; of a file, with its size."""
    found, fsync = [], os.fsync

    def noted(handle):
        fsync(handle)
        name, about = Path(f"/proc/self/fd/{handle}").readlink().name, os.fstat(handle)
        found.append(f"{name}/" if stat.S_ISDIR(about.st_mode) else (name, about.st_size))

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_all_that_is_in_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, synced, monkeypatch):
    replace, before = Path.replace, []
    monkeypatch.setattr(Path, "replace", lambda self, target: before.extend(synced) or replace(self, target))
    with atomic_folder(tmp_path / "made") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"12345")
        (folder / "top").write_bytes(b"123")
        temporary = f"{folder.name}/"
    assert {("file", 5), ("top", 3), "deep/", temporary} <= set(before)
    assert synced[len(before) :] == [f"{tmp_path.name}/"], "and then the name"


def test_a_folder_in_the_place_of_another_has_its_name_on_the_disk_before_the_other_goes(tmp_path, synced, monkeypatch):
    (tmp_path / "made").mkdir()
    rmtree, before = shutil.rmtree, []
    monkeypatch.setattr(shutil, "rmtree", lambda *given, **more: before.append(list(synced)) or rmtree(*given, **more))
    with atomic_folder(tmp_path / "made"):
        pass
    assert before[0][-1] == f"{tmp_path.name}/"


def test_a_file_is_on_the_disk_with_its_name(tmp_path, synced):
    write_atomic(tmp_path / "file", b"12345")
    ((name, size), folder) = synced
    assert name.startswith(".file.")
    assert (size, folder) == (5, f"{tmp_path.name}/")


def test_a_place_is_tried_with_more_than_an_empty_file(tmp_path, synced):
    require_writable(tmp_path)
    ((_, size),) = synced
    assert size == PROBE == 65536
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("kind", [OSError, shutil.Error])
def test_a_disk_that_is_full_while_a_folder_is_made_is_named_with_its_reason(tmp_path, number, kind):
    reason = os.strerror(number)
    error = OSError(number, reason) if kind is OSError else shutil.Error([("a", "b", f"[Errno {number}] {reason}")])
    with (
        pytest.raises(CannotWrite, match=rf"cannot write .*/made: {reason}; make room"),
        atomic_folder(tmp_path / "made"),
    ):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_another_failure_while_a_folder_is_made_is_the_callers_own(tmp_path):
    with pytest.raises(FileNotFoundError, match="mine"), atomic_folder(tmp_path / "made"):
        raise FileNotFoundError(errno.ENOENT, "mine")


def test_a_folder_that_another_process_makes_at_the_same_time_is_there(tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def late(self, *given, **more):
        mkdir(self, *given, **more)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(Path, "mkdir", late)
    make_folder(tmp_path / "deep" / "folder")
    assert (tmp_path / "deep" / "folder").is_dir()


def test_a_file_in_the_place_of_a_folder_is_told_as_what_it_is(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="Not a directory"):
        make_folder(tmp_path / "file")
