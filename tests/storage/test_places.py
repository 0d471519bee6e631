"""A folder and a prefix on a real S3 server behave alike."""

import fcntl
import itertools
import os
import time
from pathlib import Path

import boto3
import pytest

from autosparse.errors import AutosparseError, CannotWrite, Unreachable
from autosparse.storage import Bucket, Folder, place_at
from autosparse.storage import bucket as buckets
from autosparse.storage.bucket import cache_folder


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path / "place")
    address = request.getfixturevalue("s3")(f"places-{abs(hash(tmp_path)) % 10**12}")
    return Bucket(address, local=tmp_path / "cache")


def test_what_is_written_is_read_listed_and_removed(place):
    place.require_writable()
    assert (place.names(), place.names(deep=True)) == ([], [])
    place.write("a.json", b"one")
    place.write("a.json", b"two")
    place.within("deep").write("b.json", b"three")
    assert (place.read("a.json"), place.read("deep/b.json")) == (b"two", b"three")
    assert (place.names(), place.names(deep=True)) == (["a.json"], ["a.json", "deep/b.json"])
    assert place.within("deep").names() == ["b.json"]
    assert list(place.each(place.read, ["a.json", "deep/b.json"])) == [b"two", b"three"]
    place.remove("a.json")
    place.remove("a.json")
    with pytest.raises(FileNotFoundError):
        place.read("a.json")
    place.within("deep").clear()
    assert place.names(deep=True) == []


def test_a_file_of_any_size_is_brought_and_made(place):
    content = os.urandom(200_000)
    with place.made("big") as path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with place.bring("big") as brought:
        assert (brought.read_bytes() if isinstance(brought, Path) else brought.read()) == content
    assert (place.read_part("big", 3, 9), place.read_part("big", 3, 10**6)) == (content[3:12], content[3:])
    assert (place.read_part("big", -9, 9), place.read_part("big", -(10**6), 10**6)) == (content[-9:], content)
    with pytest.raises(FileNotFoundError):
        place.read_part("absent", -9, 9)
    assert place.names() == ["big"]


def test_what_failed_while_it_was_made_for_a_bucket_is_not_stored(s3, tmp_path):
    bucket = Bucket(s3("unmade"), local=tmp_path)
    with pytest.raises(ZeroDivisionError), bucket.made("big") as path:
        path.write_bytes(b"half")
        raise ZeroDivisionError
    assert bucket.names() == []
    with pytest.raises(FileNotFoundError), bucket.bring("big"):
        pass
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_stamp_stays_until_the_file_is_another(place):
    assert place.stamps() == {}
    place.write("a.json", b"one")
    place.within("deep").write("b.json", b"two")
    first = place.stamps()
    assert first.keys() == {"a.json"}
    assert place.stamps() == first
    assert place.stamp("a.json") in (None, first["a.json"])
    assert place.stamp("absent.json") is None
    assert place.read_stamped("a.json") == (b"one", first["a.json"])
    place.write("a.json", b"another")
    assert place.stamps() != first


def test_a_folder_that_is_sent_is_fetched_elsewhere_and_replaced_as_a_whole(place, tmp_path):
    made = place.local / "made"
    (made / "in").mkdir(parents=True)
    (made / "in" / "large").write_bytes(b"x" * 100_000)
    (made / "old").touch()
    place.send("made")
    (made / "old").unlink()
    place.send("made")
    elsewhere = place if isinstance(place, Folder) else Bucket(place.address, local=tmp_path / "another machine")
    assert elsewhere.fetch("absent").exists() is False
    assert [p.name for p in elsewhere.fetch("made").rglob("*")] == ["in", "large"]
    assert (elsewhere.fetch("made") / "in" / "large").read_bytes() == b"x" * 100_000


def test_a_folder_is_fetched_anew_only_when_it_has_changed(s3, tmp_path):
    bucket = Bucket(s3("anew"), local=tmp_path)
    bucket.write("f/a", b"12")
    first = (bucket.fetch("f") / "a").stat().st_ino
    assert (bucket.fetch("f") / "a").stat().st_ino == first
    bucket.write("f/a", b"123")
    assert (bucket.fetch("f") / "a").read_bytes() == b"123"
    (bucket.fetch("f") / "a").write_bytes(b"12")
    assert bucket.forget("f")
    assert (bucket.fetch("f") / "a").read_bytes() == b"123"
    bucket.remove("f/a")
    assert not (bucket.fetch("f") / "a").exists()


def test_what_is_cleared_is_gone_from_this_machine_too(place):
    made = place.within("work")
    (made.local / "f").mkdir(parents=True)
    (made.local / "f" / "a").write_bytes(b"12")
    made.send("f")
    assert made.names(deep=True) == ["f/a"]
    made.clear()
    assert made.names(deep=True) == []
    assert not made.local.exists()


def test_a_folder_that_is_moved_takes_the_place_of_what_was_there(place):
    for name, content in (("new/a", b"1"), ("new/deep/b", b"2"), ("aside/old/c", b"3")):
        place.write(name, content)
    place.move("new", "aside/old")
    assert place.names(deep=True) == ["aside/old/a", "aside/old/deep/b"]
    assert (place.read("aside/old/a"), place.read("aside/old/deep/b")) == (b"1", b"2")
    assert place.within("new").names(deep=True) == []
    assert place.fetch("new").exists() is False
    place.move("absent", "aside/old")
    assert place.read("aside/old/a") == b"1"
    place.move("aside/old", "fresh")
    assert place.names(deep=True) == ["fresh/a", "fresh/deep/b"]


def test_what_this_machine_has_brought_of_a_folder_is_gone_when_it_is_moved(s3, tmp_path):
    bucket = Bucket(s3("moved"), local=tmp_path)
    bucket.write("f/a", b"12")
    assert (bucket.fetch("f") / "a").exists()
    bucket.move("f", "g")
    assert not (tmp_path / "f" / "a").exists()


def test_only_an_empty_folder_is_dropped(tmp_path):
    folder = Folder(tmp_path / "f")
    folder.drop_if_empty()
    folder.write("a", b"1")
    folder.drop_if_empty()
    assert folder.read("a") == b"1"
    folder.remove("a")
    folder.drop_if_empty()
    assert not folder.path.exists()


def test_a_folder_that_is_written_to_while_it_is_dropped_stays(tmp_path, monkeypatch):
    folder = Folder(tmp_path / "f")
    folder.write("a", b"1")
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(()))  # empty, as the folder was a moment ago
    folder.drop_if_empty()
    assert folder.read("a") == b"1"


def test_a_cache_that_cannot_be_made_is_told_of_in_one_line(s3, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match=r"cannot write .*file"):
        Bucket(s3("cache"), local=tmp_path / "file" / "cache").fetch("f")


def test_a_folder_that_cannot_be_written_is_told_of_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="file"):
        Folder(tmp_path / "file").require_writable()


def test_what_is_not_there_is_cleared_without_a_word(place):
    place.within("absent").clear()


def test_a_folder_in_the_place_of_a_file_is_removed_and_where_it_is_a_link_alone(tmp_path):
    place = Folder(tmp_path / "place")
    (place.path / "file" / "deep").mkdir(parents=True)
    (tmp_path / "kept" / "deep").mkdir(parents=True)
    (place.path / "link").symlink_to(tmp_path / "kept")
    place.remove("file")
    place.remove("link")
    assert list(place.path.iterdir()) == []
    assert (tmp_path / "kept" / "deep").is_dir()


def test_what_this_machine_has_sent_or_brought_is_not_brought_again(s3, tmp_path, monkeypatch):
    here, there = (Bucket(s3("again"), local=tmp_path / name) for name in ("here", "there"))
    (here.local / "f").mkdir(parents=True)
    (here.local / "f" / "a").write_bytes(b"12")
    os.utime(here.local / "f" / "a", (1e9, 1e9))
    here.send("f")
    brought, bring = [], Bucket._download
    monkeypatch.setattr(Bucket, "_download", lambda self, *given: brought.append(self) or bring(self, *given))
    here.fetch("f")
    assert brought == []
    time.sleep(1.1)  # a store tells times in whole seconds
    for _ in range(2):
        assert (there.fetch("f") / "a").read_bytes() == b"12"
    assert brought == [there]


@pytest.mark.parametrize("name", ["../../evil", "a/../../../evil", "a//b"])
def test_an_object_whose_name_leads_out_of_the_folder_is_refused(s3, tmp_path, name):
    address = s3(f"evil-{len(name)}")
    client = boto3.client("s3", endpoint_url=f"http://{address.rpartition('=')[2]}", region_name="us-east-1")
    client.put_object(Bucket=f"evil-{len(name)}", Key=f"some/prefix/irp/x/{name}", Body=b"evil")
    with pytest.raises(AutosparseError, match="not the name of a file"):
        Bucket(address, local=tmp_path / "cache").fetch("irp/x")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    "address", ["s3://KEY:hun/ter2@b/p", "s3://KEY:hunter2@b/p", "s3://KEY@b/p", "gs://KEY:hunter2@b/p"]
)
def test_credentials_in_an_address_are_refused_and_not_repeated(address):
    with pytest.raises(AutosparseError, match="belong in the environment") as refusal:
        place_at(address)
    assert "hun" not in str(refusal.value)


def test_what_is_neither_a_folder_nor_an_object_store_we_know_is_refused():
    with pytest.raises(AutosparseError, match=r"not ftp://"):
        place_at("ftp://host/results")


def test_a_bucket_that_is_not_there_is_told_of_at_once(s3):
    with pytest.raises(AutosparseError, match=r"s3://absent/some/prefix.*does not exist"):
        place_at(s3("present").replace("present", "absent")).require_writable()


def test_a_server_that_is_away_is_waited_for_and_told_of_in_the_end(s3, tmp_path, monkeypatch):
    bucket = Bucket(s3("away"), local=tmp_path)
    bucket.write("a", b"here")
    away, asked = itertools.chain([True, False], itertools.repeat(True)), []

    class Away:
        def open_input_file(self, name):
            asked.append(name)
            if next(away):
                raise OSError("AWS Error NETWORK_CONNECTION during HeadObject operation")
            return there.open_input_file(name)

    there, bucket.filesystem = bucket.filesystem, Away()
    assert bucket.read("a") == b"here"
    assert asked == ["a", "a"]
    with pytest.raises(Unreachable, match="does not answer"):
        bucket.asked(lambda: bucket.filesystem.open_input_file("a"), patience=0)


def test_a_disk_of_this_machine_that_is_full_is_not_taken_for_the_store(s3, tmp_path):
    def full():
        raise OSError(28, "No space left on device")

    with pytest.raises(CannotWrite, match="No space left on device; make room"):
        Bucket(s3("full"), local=tmp_path).asked(full, patience=0)


def test_the_cache_is_where_the_user_says_else_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("AUTOSPARSE_CACHE")
    assert cache_folder() == tmp_path / ".cache" / "autosparse"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "autosparse"
    monkeypatch.setenv("AUTOSPARSE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_googles_store_is_opened_as_it_wants_to_be():
    assert str(place_at("gs://anonymous@bucket/prefix")) == "gs://anonymous@bucket/prefix"


def test_two_processes_of_a_machine_do_not_fetch_one_folder_at_once(tmp_path):
    with buckets._locked(tmp_path / "f"), (tmp_path / ".f.lock").open("a") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
