import errno
import shutil
from pathlib import Path

import pytest
from builders import names

from autosparse.errors import AutosparseError, CannotWrite
from autosparse.files import atomic_folder, require_replaceable

OURS = ["part-*"]


def write(path, *parts):
    with atomic_folder(path, OURS) as folder:
        for part in parts:
            (folder / part).write_text(part)


def test_folder_is_absent_until_the_block_ends(tmp_path):
    with atomic_folder(tmp_path / "data") as folder:
        (folder / "part-0").touch()
        assert not (tmp_path / "data").exists()
    assert names(tmp_path / "data") == ["part-0"]


def test_nothing_is_left_beside_the_folder(tmp_path):
    write(tmp_path / "data", "part-0")
    assert names(tmp_path) == ["data"]


def test_older_parts_do_not_survive_a_rewrite(tmp_path):
    write(tmp_path / "data", "part-0", "part-1")
    write(tmp_path / "data", "part-0")
    assert names(tmp_path / "data") == ["part-0"]


def test_an_error_in_the_block_keeps_the_older_folder_alone(tmp_path):
    write(tmp_path / "data", "part-0")
    with pytest.raises(RuntimeError, match="half way"), atomic_folder(tmp_path / "data", OURS) as folder:
        (folder / "part-1").touch()
        raise RuntimeError("half way")
    assert (names(tmp_path), names(tmp_path / "data")) == (["data"], ["part-0"])


def test_a_folder_of_somebody_else_is_refused_and_kept(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").touch()
    with pytest.raises(AutosparseError, match=r"thesis\.tex"):
        write(tmp_path / "data", "part-0")
    assert names(tmp_path / "data") == ["thesis.tex"]


def test_missing_parents_are_made(tmp_path):
    write(tmp_path / "a" / "b", "part-0")
    assert names(tmp_path / "a" / "b") == ["part-0"]


def test_sub_folders_are_moved_too(tmp_path):
    with atomic_folder(tmp_path / "data") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "x").write_text("x")
    assert (tmp_path / "data" / "sub" / "x").read_text() == "x"


def test_a_place_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AutosparseError, match="cannot write"), atomic_folder(tmp_path / "file" / "data"):
        pass


def test_the_old_folder_stays_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write(tmp_path / "data", "part-old")
    replace = Path.replace

    def fail(self, target):
        if self.name.endswith(".tmp"):
            raise OSError(errno.EBUSY, "busy")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(CannotWrite, match="data: Device or resource busy"):
            write(tmp_path / "data", "part-new")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert names(tmp_path / "data") == ["part-old"]


def test_what_somebody_puts_there_meanwhile_is_not_lost(tmp_path):
    with pytest.raises(AutosparseError, match=r"already holds 'thesis.tex'"):  # noqa: SIM117
        with atomic_folder(tmp_path / "data", OURS):
            (tmp_path / "data").mkdir()
            (tmp_path / "data" / "thesis.tex").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "thesis.tex"]


def test_the_folder_in_which_it_runs_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AutosparseError, match=r"\. is the current folder, which cannot be replaced"):
        require_replaceable(Path(), OURS)
    with pytest.raises(AutosparseError, match="is the current folder"), atomic_folder(Path()):
        pass


def test_a_disk_that_fills_up_as_a_tree_is_copied_is_named(tmp_path):
    said = "out: No space left on device; make room there"
    with pytest.raises(CannotWrite, match=said), atomic_folder(tmp_path / "out"):
        raise shutil.Error([("a", "b", "[Errno 28] No space left on device")])
