"""Data sets by name. A new one is one new file here whose loader carries ``@register_dataset``."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from autosparse.data.split import Dataset
from autosparse.errors import DataError
from autosparse.registry import Registry

DatasetLoader = Callable[[Path, str, bool], Dataset]
"""``(data_root, argument, download) -> Dataset``; the argument is what follows ``NAME:``."""

DATASETS: Registry[DatasetLoader] = Registry("dataset", __name__)


def register_dataset(name: str) -> Callable[[DatasetLoader], DatasetLoader]:
    """Decorator: make a loader known under the name that users type."""

    def decorate(loader: DatasetLoader) -> DatasetLoader:
        DATASETS.register(name, loader)
        return loader

    return decorate


def data_root(root: str | Path | None = None) -> Path:
    """Where data sets lie: ``root``, else the variable ``AUTOSPARSE_DATA``, else ``./data``."""
    return Path(root or os.environ.get("AUTOSPARSE_DATA") or "data")


def check_dataset_name(name: str) -> None:
    """Raise :class:`UnknownName` or :class:`DataError` where ``name`` cannot name a data set."""
    base, colon, argument = name.partition(":")
    DATASETS[base]
    if (base == "parquet") != bool(argument) or (colon and not argument):
        raise DataError(
            f"dataset {name!r}: write parquet:PATH for a folder of Parquet files, other names take no argument"
        )


def load_dataset(
    name: str, root: str | Path | None = None, device: torch.device | str = "cpu", download: bool = False
) -> Dataset:
    """Load a data set, decoded once, as uint8 tensors on ``device``.

    :param name: a registered name, or ``parquet:PATH`` (relative paths are looked up under ``root`` first).
    :param root: see :func:`data_root`.
    :param download: fetch what is missing, where the data set can be fetched.
    :raises UnknownName, DataError: with the file that is missing or broken, and what to do.
    """
    check_dataset_name(name)
    base, _, argument = name.partition(":")
    return DATASETS[base](data_root(root), argument, download).to(device)
