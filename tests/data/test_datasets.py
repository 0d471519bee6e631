"""Data sets by name, and where they are looked for."""

from pathlib import Path

import pytest

from autosparse.data import DATASETS, check_dataset_name, data_root, load_dataset
from autosparse.errors import DataError, UnknownName


def test_built_in_data_sets_are_listed():
    assert {"digits", "mnist", "parquet"} <= set(DATASETS)


def test_unknown_data_set_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown dataset 'minst': did you mean 'mnist'\?"):
        load_dataset("minst")


@pytest.mark.parametrize("name", ["digits", "mnist", "parquet:cifar10-jpeg", "parquet:/a:b"])
def test_names_that_can_be_loaded(name):
    check_dataset_name(name)


@pytest.mark.parametrize("name", ["parquet", "parquet:", "digits:8", "mnist:"])
def test_argument_missing_or_too_much(name):
    with pytest.raises(DataError, match=rf"dataset '{name}': write parquet:PATH"):
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
