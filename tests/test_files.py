import hashlib
import json
import os
from pathlib import Path

import pytest
from builders import names
from hypothesis import given, settings
from hypothesis import strategies as st

from autosparse import files
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import (
    atomic_folder,
    canonical_json,
    content_id,
    read_record,
    require_replaceable,
    require_writable,
    sha256_file,
    write_atomic,
    write_record,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_canonical_json_sorts_keys_and_drops_spaces():
    assert canonical_json({"b": 1, "a": [1, 2.5, None]}) == '{"a":[1,2.5,null],"b":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_refuses_non_finite_numbers(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": value})


def test_content_id_is_a_prefix_of_the_sha256_of_the_canonical_text():
    expected = hashlib.sha256(b'{"a":[1,2],"b":0.5}').hexdigest()[:16]
    assert content_id({"b": 0.5, "a": [1, 2]}) == expected == "4b8a4d176b97e138"


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_write_creates_missing_folders(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "x", b"abc")
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"abc"


@pytest.fixture
def synced(monkeypatch):
    """The folders that are synced, in order."""
    folders, sync = [], files.sync_folder
    monkeypatch.setattr(files, "sync_folder", lambda folder: folders.append(folder) or sync(folder))
    return folders


def test_the_names_of_new_folders_outlive_a_crash_and_old_ones_cost_nothing(tmp_path, synced):
    write_atomic(tmp_path / "a" / "b" / "x", b"abc")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    write_atomic(tmp_path / "a" / "b" / "y", b"abc")
    assert synced[3:] == [tmp_path / "a" / "b"]


def test_an_older_folder_goes_after_the_name_of_the_new_one_is_kept(tmp_path, synced, monkeypatch):
    remove, before = files.shutil.rmtree, []
    monkeypatch.setattr(files.shutil, "rmtree", lambda path, **how: before.append(list(synced)) or remove(path, **how))
    for name in ("part-0", "part-1"):
        synced.clear()
        before.clear()
        with atomic_folder(tmp_path / "data", ["part-*"]) as folder:
            (folder / name).touch()
    assert tmp_path in before[0]
    assert names(tmp_path) == ["data"]


def test_a_folder_that_may_be_written_but_not_read_is_written_to(tmp_path, monkeypatch):
    open_file = os.open

    def refuse(path, *given):  # a superuser may read any folder
        if Path(path) == tmp_path:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *given)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        write_atomic(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


def test_write_replaces_and_leaves_nothing_else(tmp_path):
    write_atomic(tmp_path / "x", b"long old content")
    write_atomic(tmp_path / "x", b"new")
    assert (names(tmp_path), (tmp_path / "x").read_bytes()) == (["x"], b"new")


def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    write_atomic(tmp_path / "x", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AutosparseError, match=r"cannot write .*/x: No space left on device"):
        write_atomic(tmp_path / "x", b"new")
    assert (names(tmp_path), (tmp_path / "x").read_bytes()) == (["x"], b"old")


def test_write_below_a_file_says_which_path_and_why(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AutosparseError, match=r"cannot write .*/file/x: .*choose another folder"):
        write_atomic(tmp_path / "file" / "x", b"")


def test_require_writable_makes_the_folder_and_leaves_it_empty(tmp_path):
    require_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


def test_require_writable_refuses_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AutosparseError, match="cannot write"):
        require_writable(tmp_path / "file" / "folder")


def test_replaceable_accepts_an_absent_folder(tmp_path):
    require_replaceable(tmp_path / "absent", [])


def test_replaceable_accepts_a_folder_of_our_files(tmp_path):
    (tmp_path / "part-0.parquet").touch()
    require_replaceable(tmp_path, ["part-*.parquet"])


def test_replaceable_names_the_foreign_file(tmp_path):
    (tmp_path / "part-0.parquet").touch()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(AutosparseError, match=r"already holds 'thesis.tex'"):
        require_replaceable(tmp_path, ["part-*.parquet"])


def test_replaceable_refuses_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AutosparseError, match="is a file, not a folder"):
        require_replaceable(tmp_path / "file", [])


@settings(max_examples=25)
@given(st.dictionaries(st.text().filter(lambda key: key != "checksum"), JSON, max_size=4))
def test_record_round_trip(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("records") / "record.json"
    write_record(path, content)
    assert read_record(path) == content


def test_every_truncation_of_a_record_is_refused(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, {"cell": "abc", "accuracy": 97.5})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFile, match=r"record\.json is truncated"):
            read_record(path)


def test_changed_record_is_refused(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, {"accuracy": 97.5})
    path.write_text(path.read_text().replace("97.5", "98.5"))
    with pytest.raises(CorruptFile, match="does not match its checksum"):
        read_record(path)


@pytest.mark.parametrize("text", ["[]", "null", "3", '"checksum"', "{}", '{"a": 1}', '{"a": NaN, "checksum": "x"}'])
def test_json_that_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(CorruptFile, match="not a record of autosparse"):
        read_record(tmp_path / "record.json")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "record.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptFile, match="not a record of autosparse"):
        read_record(tmp_path / "record.json")


def test_record_keeps_the_order_of_its_keys(tmp_path):
    write_record(tmp_path / "r.json", {"z": 1, "a": 2})
    assert list(read_record(tmp_path / "r.json")) == ["z", "a"]


def test_nan_is_refused_before_a_record_is_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(tmp_path / "r.json", {"accuracy": float("nan")})
    assert names(tmp_path) == []


def test_record_with_integer_keys_can_be_read_back(tmp_path):
    write_record(tmp_path / "r.json", {"accuracy by epoch": {2: 90.0, 10: 97.5}})
    assert read_record(tmp_path / "r.json") == json.loads('{"accuracy by epoch": {"2": 90.0, "10": 97.5}}')
