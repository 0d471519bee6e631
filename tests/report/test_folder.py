"""The folder of a report: nobody loses a file to it."""

import pytest

from autosparse.errors import AutosparseError
from autosparse.files import write_record
from autosparse.report.folder import WRITTEN, write_files


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {WRITTEN}


def test_files_of_the_last_report_go_and_others_stay(tmp_path):
    write_files(tmp_path, {"index.html": b"1", "tables/01-a.md": b"1", "tables/02-b.md": b"1"})
    (tmp_path / "tables" / "03-mine.md").touch()
    write_files(tmp_path, {"index.html": b"2", "tables/01-c.md": b"2"})
    assert names(tmp_path) == {"index.html", "tables/01-c.md", "tables/03-mine.md"}
    assert (tmp_path / "index.html").read_text() == "2"


@pytest.mark.parametrize("mine", ["index.html", "tables/01-a.md"])
def test_somebodys_file_is_named_and_not_replaced(tmp_path, mine):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    with pytest.raises(AutosparseError, match=f"{mine} is there, and not of an earlier report; choose another --out"):
        write_files(tmp_path, {"index.html": b"1", "tables/01-a.md": b"1"})
    assert names(tmp_path) == {mine}
    assert (tmp_path / mine).read_text() == "mine"


def test_a_list_of_files_that_leads_elsewhere_deletes_nothing(tmp_path):
    (tmp_path / "evil.md").touch()
    out = tmp_path / "out"
    write_record(out / WRITTEN, {"files": ["../evil.md", "/etc/x", "tables/../../evil.md", 3]})
    write_files(out, {"index.html": b"1"})
    assert (tmp_path / "evil.md").exists()
