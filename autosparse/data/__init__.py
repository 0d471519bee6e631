"""Data sets by name. A new one is one new file here whose loader carries ``@register_dataset``."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError, DataError
from autosparse.registry import Registry, first_line
from autosparse.users_code import described, named, place_of_error

DatasetLoader = Callable[[Path, str, bool], Dataset]
"""``(data_root, argument, download) -> Dataset``; the argument is what follows ``NAME:``."""


@dataclass(frozen=True)
class Source:
    """A registered data set, or a kind of data set that takes an argument, e.g. a path."""

    name: str
    load: DatasetLoader
    argument: str | None
    check: Callable[[str], None] | None = None
    """Raises if the argument is not well formed, without reading any file."""
    locate: Callable[[Path, str], object] | None = None
    """Raises if its files are not under a data root, without reading them; None: only loading them can tell."""
    streamed: bool = False
    """Whether the images stay in their files, so that processes of each job decode them."""
    imported: bool = True
    """False: a placeholder for the data set of a plugin that is withheld; nothing else is known of it."""

    @property
    def usage(self) -> str:
        """What users write: the name, with its argument if it takes one."""
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


def register_dataset(
    name: str,
    argument: str | None = None,
    check: Callable[[str], None] | None = None,
    locate: Callable[[Path, str], object] | None = None,
    streamed: bool = False,
) -> Callable[[DatasetLoader], DatasetLoader]:
    """Decorator: make a loader known under the name that users type.

    :param argument: what follows ``NAME:``, as listings show it (``PATH``); None: the name stands alone.
    :param check: raises if the argument that a user wrote is not well formed.
    :param locate: ``(data_root, argument)``, raises :class:`DataError` if the files are not there.
    :param streamed: whether processes of each job decode the images, see :class:`autosparse.data.stream.StreamedSplit`.
    """

    def decorate(loader: DatasetLoader) -> DatasetLoader:
        DATASETS.register(name, Source(name, loader, argument, check, locate, streamed), loader)
        return loader

    return decorate


def data_root(root: str | Path | None = None) -> Path:
    """The folder of data sets: ``root``, else the variable ``AUTOSPARSE_DATA``, else ``./data``."""
    return Path(root or os.environ.get("AUTOSPARSE_DATA") or "data")


PINNED = re.compile(r"(?P<name>.+)@(?P<version>[0-9a-f]{8,16})", re.DOTALL)
"""A name pinned to data whose fingerprint starts with the version."""


def unpinned(name: str) -> tuple[str, str]:
    """The name and the version of a data set from ``NAME@FINGERPRINT``; the version is empty if none is given."""
    found = PINNED.fullmatch(name)
    return (found["name"], found["version"]) if found else (name, "")


def source_of(name: str) -> Source:
    """The source of the data set ``name``; raises as :func:`check_dataset_name` does."""
    base = unpinned(name)[0].partition(":")[0]
    if "@" in base and base.partition("@")[0] in DATASETS:
        raise DataError(f"dataset {name!r}: after @ come 8 to 16 hex digits of the data's fingerprint")
    return DATASETS[base]


def check_dataset_name(name: str) -> None:
    """Raise :class:`UnknownName` or :class:`DataError` if ``name`` cannot name a data set."""
    source = source_of(name)
    _, colon, argument = unpinned(name)[0].partition(":")
    if source.argument and not argument:
        raise DataError(f"dataset {name!r}: {source.name} needs an argument; write {source.usage}")
    if colon and not source.argument and source.imported:
        raise DataError(f"dataset {name!r}: {source.name} takes no argument; write {source.usage}")
    if source.check:
        source.check(argument)


def _loaded(source: Source, root: Path, argument: str, download: bool) -> Dataset:
    """What a loader returns; if it fails or returns something else, the error names the place in the user's code."""
    try:
        dataset = source.load(root, argument, download)
    except AutosparseError:
        raise
    except Exception as error:
        place = place_of_error(error)
        if not place:
            raise
        raise DataError(
            f"dataset {source.name!r} cannot be loaded: {described(error)}; --debug shows the traceback"
        ) from error
    if not isinstance(dataset, Dataset):
        whose = named(f"dataset {source.name!r}", source.load)
        raise DataError(f"{whose} returned an object of type {type(dataset).__name__}, not an autosparse.data.Dataset")
    return dataset


def missing_data(name: str, root: str | Path | None = None) -> str | None:
    """Why the files of a data set seem to be missing, found without reading them; None if they seem to be there.

    It is None, too, for a data set that registers no ``locate`` and for one that is withheld: loading them will tell.
    """
    locate = source_of(name).locate
    if locate is None:
        return None
    reason = None
    for candidate in dict.fromkeys((unpinned(name)[0], name)):  # an @ may belong to the path
        try:
            locate(data_root(root), candidate.partition(":")[2])
            return None
        except DataError as error:
            reason = reason or str(error)
    return reason


def load_dataset(
    name: str, root: str | Path | None = None, device: torch.device | str = "cpu", download: bool = False
) -> Dataset:
    """Load a data set with its batches on ``device``: decoded once as uint8 tensors there, or streamed from files.

    >>> asp.load_dataset("digits").train
    Split(1,437 images of 1x8x8, on cpu)

    :param name: a registered name; ``parquet:PATH`` or ``imagefolder:PATH`` (relative paths are looked up under
        ``root`` first); or ``subset:TRAIN,TEST:NAME``. With ``@FINGERPRINT`` appended, the
        fingerprint of the data must start with it.
    :param root: see :func:`data_root`.
    :param download: fetch what is missing, if the data set can be fetched.
    :raises UnknownName, DataError: with the file that is missing or broken, and what to do.
    """
    check_dataset_name(name)
    plain, version = unpinned(name)
    folder = name.partition(":")[2]
    if version and folder and any((base / folder).is_dir() for base in (data_root(root), Path())):
        plain, version = name, ""  # a folder whose name contains an @
    dataset = _loaded(source_of(name), data_root(root), plain.partition(":")[2], download)
    if not dataset.fingerprint.startswith(version):
        raise DataError(
            f"dataset {name!r}: the data here have the fingerprint {dataset.fingerprint}, not {version}; restore that "
            f"version, or name this one: {plain}@{dataset.fingerprint}"
        )
    return dataset.to(device)
