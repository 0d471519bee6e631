"""The folder of a report: nobody loses a file to it."""

import pytest

from autosparse.errors import AutosparseError
from autosparse.report.folder import MARK, write_files


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_files_of_the_last_report_go_and_others_stay(tmp_path):
    write_files(tmp_path, {"index.html": MARK + b"1", "tables/01-a.md": b"1", "tables/02-b.md": b"1"})
    (tmp_path / "tables" / "mine.md").touch()
    write_files(tmp_path, {"index.html": MARK + b"2", "tables/01-c.md": b"2"})
    assert names(tmp_path) == {"index.html", "tables/01-c.md", "tables/mine.md"}
    assert (tmp_path / "index.html").read_bytes() == MARK + b"2"


def test_a_report_with_a_hundred_tables_is_replaced(tmp_path):
    write_files(tmp_path, {"index.html": MARK + b"1", "tables/99-a.md": b"1", "tables/100-b.md": b"1"})
    (tmp_path / "tables" / "2024-mine.md").touch()
    write_files(tmp_path, {"index.html": MARK + b"2", "tables/100-b.md": b"2"})
    assert names(tmp_path) == {"index.html", "tables/100-b.md", "tables/2024-mine.md"}


@pytest.mark.parametrize("mine", ["index.html", "tables/01-a.md"])
def test_somebodys_file_is_named_and_not_replaced(tmp_path, mine):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    with pytest.raises(AutosparseError, match=f"{mine} exists, and no earlier report wrote it"):
        write_files(tmp_path, {"index.html": MARK, "tables/01-a.md": b"1"})
    assert names(tmp_path) == {mine}
    assert (tmp_path / mine).read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(AutosparseError, match=r"cannot write .*out: Not a directory"):
        write_files(tmp_path / "out", {"index.html": MARK})
