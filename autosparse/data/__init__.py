"""Data sets by name. A new one is one new file here whose loader carries ``@register_dataset``."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from autosparse.data.split import Dataset
from autosparse.errors import DataError
from autosparse.registry import Registry, first_line

DatasetLoader = Callable[[Path, str, bool], Dataset]
"""``(data_root, argument, download) -> Dataset``; the argument is what follows ``NAME:``."""


@dataclass(frozen=True)
class Source:
    """A registered data set, or a kind of them that takes an argument, e.g. a path."""

    name: str
    load: DatasetLoader
    argument: str | None
    imported: bool = True
    """False: it stands for one that a plugin brings which is not imported, and nothing else is known of it."""

    @property
    def usage(self) -> str:
        """What users write: the name, with its argument where it takes one."""
        return f"{self.name}:{self.argument}" if self.argument else self.name

    @property
    def summary(self) -> str:
        """One line for listings."""
        return first_line(self.load)


def _not_imported(root: Path, argument: str, download: bool) -> Dataset:
    raise DataError("the data set's plugin is not imported here; run the experiment without --dry-run")


DATASETS: Registry[Source] = Registry(
    "dataset", __name__, lambda name: Source(name, _not_imported, None, imported=False)
)


def register_dataset(name: str, argument: str | None = None) -> Callable[[DatasetLoader], DatasetLoader]:
    """Decorator: make a loader known under the name that users type.

    :param argument: what follows ``NAME:``, as listings show it (``PATH``); None: the name stands alone.
    """

    def decorate(loader: DatasetLoader) -> DatasetLoader:
        DATASETS.register(name, Source(name, loader, argument))
        return loader

    return decorate


def data_root(root: str | Path | None = None) -> Path:
    """Where data sets lie: ``root``, else the variable ``AUTOSPARSE_DATA``, else ``./data``."""
    return Path(root or os.environ.get("AUTOSPARSE_DATA") or "data")


def check_dataset_name(name: str) -> None:
    """Raise :class:`UnknownName` or :class:`DataError` where ``name`` cannot name a data set."""
    base, colon, argument = name.partition(":")
    source = DATASETS[base]
    if source.argument and not argument:
        raise DataError(f"dataset {name!r}: {base} needs an argument; write {source.usage}")
    if colon and not source.argument and source.imported:
        raise DataError(f"dataset {name!r}: {base} takes no argument; write {source.usage}")


def load_dataset(
    name: str, root: str | Path | None = None, device: torch.device | str = "cpu", download: bool = False
) -> Dataset:
    """Load a data set whose batches come on ``device``: decoded once as uint8 tensors there, or streamed from files.

    :param name: a registered name, or ``parquet:PATH`` or ``imagefolder:PATH`` (relative paths are looked up under
        ``root`` first).
    :param root: see :func:`data_root`.
    :param download: fetch what is missing, where the data set can be fetched.
    :raises UnknownName, DataError: with the file that is missing or broken, and what to do.
    """
    check_dataset_name(name)
    base, _, argument = name.partition(":")
    return DATASETS[base].load(data_root(root), argument, download).to(device)
