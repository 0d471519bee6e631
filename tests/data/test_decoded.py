"""Decoded images on a node's disk: the same batches, each file decoded once, and nothing wrong from a damaged disk."""

import logging
import os
import shutil
from dataclasses import replace

import pytest
import torch
from image_trees import pixels, save, write_folder

from autosparse.data import decoded, image_files, load_dataset
from autosparse.data.decoded import ROW, VARIABLE, DecodedImages, folder_from_environment
from autosparse.errors import warn_once
from autosparse.seeds import generator

SIZES = [(300, 400), (90, 50), (64, 64), (400, 300)]


@pytest.fixture
def plain(tmp_path):
    folder = write_folder(
        tmp_path / "tree", {"a": SIZES, "b": SIZES[:2]}, {"a": SIZES[:1], "b": SIZES[:1]}, suffix="jpg"
    )
    return load_dataset(f"imagefolder:{folder}").train


@pytest.fixture
def split(plain, tmp_path):
    return replace(plain, kept_in=tmp_path / "kept")


@pytest.fixture
def calls(monkeypatch):
    """Paths that are decoded in this process."""
    calls, decode = [], image_files.decode

    def counted(source, name, at_least=None):
        calls.append(source)
        return decode(source, name, at_least)

    monkeypatch.setattr(image_files, "decode", counted)
    return calls


def everything(split, augmentation="none", seed=3):
    batches = list(split.batches(2, generator(seed), augmentation))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def only(folder, suffix):
    [path] = folder.glob(f"*.{suffix}")
    return path


@pytest.mark.parametrize("augmentation", ["none", "random-resized-crop"])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_before_and_after_they_are_kept(plain, split, augmentation, workers):
    expected = everything(plain, augmentation)
    for _ in range(2):
        assert same(everything(replace(split, workers=workers), augmentation), expected)


def test_each_file_is_decoded_once_for_all_orders_and_jobs(plain, split, calls):
    everything(split, seed=1)
    assert len(calls) == len(set(calls)) == len(split)
    again = everything(replace(plain, kept_in=split.kept_in), seed=2)  # as another job would
    assert len(calls) == len(split)
    assert same(again, everything(plain, seed=2))


def test_whole_images_and_their_centres_are_kept_apart(split, calls):
    everything(split, "none")
    everything(split, "random-resized-crop")
    assert len(calls) == 2 * len(split)
    assert len(list(split.kept_in.iterdir())) == 4


def test_another_list_of_images_has_its_own_files(split, tmp_path, calls):
    everything(split)
    other = write_folder(tmp_path / "other", {"a": SIZES}, {"a": SIZES[:1]})
    everything(replace(load_dataset(f"imagefolder:{other}").train, kept_in=split.kept_in))
    assert len(calls) == len(split) + len(SIZES)


def test_a_file_that_changes_is_decoded_again(split, plain, calls):
    everything(split)
    path = split.files.path(2)
    status = path.stat()
    save(path, pixels(99, 64, 64))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    calls.clear()
    assert same(everything(split), everything(replace(plain, workers=1)))
    assert calls == [path]


@pytest.mark.parametrize("at", [0, 1000, 3 * 224**2 - 1])
def test_damaged_pixels_are_decoded_again(split, plain, calls, at):
    expected = everything(split)
    path = only(split.kept_in, "pixels")
    data = bytearray(path.read_bytes())
    data[4 * 3 * 224**2 + at] ^= 1
    path.write_bytes(data)
    calls.clear()
    assert same(everything(split), expected)
    assert calls == [split.files.path(4)]
    calls.clear()
    everything(split)
    assert calls == []  # and they are mended


@pytest.mark.parametrize("suffix", ["pixels", "rows"])
def test_files_that_end_early_give_what_is_whole(split, calls, suffix):
    expected = everything(split)
    path = only(split.kept_in, suffix)
    os.truncate(path, path.stat().st_size - 5)
    calls.clear()
    assert same(everything(split), expected)
    assert calls == [split.files.path(len(split) - 1)]


def test_a_row_without_its_pixels_is_not_believed(split, calls):
    """A power cut can leave this: the rows are on the disk and the pixels are not."""
    expected = everything(split)
    path = only(split.kept_in, "pixels")
    path.write_bytes(bytes(path.stat().st_size))
    calls.clear()
    assert same(everything(split), expected)
    assert len(calls) == len(split)


def test_a_folder_that_is_cleared_between_batches_does_no_harm(split, plain):
    passing = split.batches(2, generator(3))
    batches = [next(passing)]
    shutil.rmtree(split.kept_in)
    batches += list(passing)[1:]
    assert same((torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])), everything(plain))


def test_a_full_disk_gets_no_images_and_the_warning_names_the_need(split, plain, monkeypatch, caplog):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert same(everything(split), everything(plain))
    [line] = caplog.messages
    assert VARIABLE in line
    assert only(split.kept_in, "pixels").stat().st_size == 0


def test_a_warning_says_how_much_room_is_needed_and_there(tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: usage._replace(free=2_340_000_000))
    kept = DecodedImages.open_in(tmp_path, b"a list", 100_000, 320)
    assert not kept.writes
    [line] = caplog.messages
    told = f"no room to keep more decoded images: {tmp_path} has 2.3 GB free, and the missing images take 30.7 GB; "
    assert line.startswith(told)


def test_a_full_disk_that_has_all_images_is_no_reason_to_warn(split, monkeypatch, caplog, calls):
    everything(split)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: usage._replace(free=0))
    calls.clear()
    with caplog.at_level(logging.WARNING):
        everything(split)
    assert not calls
    assert not caplog.messages


def test_images_that_are_there_are_read_from_a_full_disk(split, monkeypatch, calls):
    expected = everything(split)
    os.truncate(only(split.kept_in, "rows"), 3 * ROW.size)
    os.truncate(only(split.kept_in, "pixels"), 3 * 3 * 224**2)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: usage._replace(free=0))
    calls.clear()
    assert same(everything(split), expected)
    assert len(calls) == len(split) - 3


def test_a_write_that_fails_costs_nothing_but_the_image(split, plain, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoded.os, "pwrite", full)
    assert same(everything(split), everything(plain))


def test_a_folder_that_cannot_be_made_is_told_once(plain, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    split = replace(plain, kept_in=tmp_path / "file" / "kept")
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert same(everything(split), everything(plain))
    assert [line.partition(":")[0] for line in caplog.messages] == ["decoded images are not kept"]


def test_the_variable_names_the_folder_and_is_read_where_the_data_set_is(plain, tmp_path, monkeypatch):
    assert folder_from_environment() is None
    name = f"imagefolder:{tmp_path / 'tree'}"
    before = load_dataset(name)
    assert before.train.kept_in is None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "here")
    data = load_dataset(name)
    assert data.train.kept_in == data.test.kept_in == tmp_path / "here"
    assert data.fingerprint == before.fingerprint
