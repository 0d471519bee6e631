"""Data sets by name, and where they are looked for."""

from pathlib import Path

import pytest

from autosparse.data import DATASETS, check_dataset_name, data_root, load_dataset
from autosparse.errors import DataError, UnknownName


def test_built_in_data_sets_are_listed():
    small = {"cifar10", "cifar100", "digits", "fashion-mnist", "mnist", "tiny-imagenet"}
    assert small | {"imagenet", "imagefolder", "parquet"} <= set(DATASETS)


def test_listing_shows_who_takes_an_argument():
    taking = {DATASETS[name].usage for name in DATASETS if DATASETS[name].argument}
    assert {"parquet:PATH", "imagefolder:PATH"} <= taking
    assert DATASETS["mnist"].usage == "mnist"


def test_unknown_data_set_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown dataset 'minst': did you mean 'mnist'\?"):
        load_dataset("minst")


@pytest.mark.parametrize("name", ["digits", "mnist", "parquet:cifar10-jpeg", "parquet:/a:b"])
def test_names_that_can_be_loaded(name):
    check_dataset_name(name)


@pytest.mark.parametrize("name", ["parquet", "parquet:", "imagefolder", "imagefolder:"])
def test_missing_argument_is_asked_for(name):
    base = name.rstrip(":")
    with pytest.raises(DataError, match=rf"dataset '{name}': {base} needs an argument; write {base}:PATH"):
        check_dataset_name(name)


@pytest.mark.parametrize("name", ["digits:8", "mnist:", "cifar10:x"])
def test_argument_too_much_is_refused(name):
    base = name.partition(":")[0]
    with pytest.raises(DataError, match=rf"dataset '{name}': {base} takes no argument; write {base}$"):
        check_dataset_name(name)


def test_explicit_root_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("AUTOSPARSE_DATA", "/from/environment")
    assert data_root("/given") == Path("/given")


def test_environment_wins_over_the_default(monkeypatch):
    monkeypatch.setenv("AUTOSPARSE_DATA", "/from/environment")
    assert data_root() == Path("/from/environment")


def test_default_root_is_the_folder_data(monkeypatch):
    monkeypatch.delenv("AUTOSPARSE_DATA", raising=False)
    assert data_root() == Path("data")


def test_device_is_where_the_tensors_are():
    assert load_dataset("digits", device="meta").train.images.device.type == "meta"


def test_a_version_is_the_beginning_of_the_fingerprint():
    digits = load_dataset("digits")
    for version in (digits.fingerprint, digits.fingerprint[:8]):
        assert load_dataset(f"digits@{version}").fingerprint == digits.fingerprint


def test_another_version_is_refused_with_both():
    here = load_dataset("digits").fingerprint
    told = f"dataset 'digits@0123abcd': the data here have the fingerprint {here}, not 0123abcd; .* digits@{here}"
    with pytest.raises(DataError, match=told):
        load_dataset("digits@0123abcd")


@pytest.mark.parametrize("name", ["digits@abc", "digits@", "digits@0123ABCD", "parquet@01:x"])
def test_what_is_no_version_is_said_so(name):
    with pytest.raises(DataError, match="after @ come 8 to 16 hex digits"):
        check_dataset_name(name)


def test_an_argument_with_a_version_is_one_without():
    check_dataset_name("parquet:/a:b@0123abcd")
    with pytest.raises(DataError, match="takes no argument"):
        check_dataset_name("digits:8@0123abcd")


def test_a_folder_that_is_called_like_a_version_is_that_folder(tmp_path):
    (tmp_path / "faces@20240101").mkdir()
    with pytest.raises(DataError, match=r"faces@20240101 has no train-\*\.parquet"):
        load_dataset("parquet:faces@20240101", tmp_path)
