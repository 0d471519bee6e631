"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in either published layout: binary records, or Python's pickles."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autosparse.data import register_dataset
from autosparse.data.cifar_pickle import read_pickled
from autosparse.data.folders import fetching
from autosparse.data.split import Dataset, make_dataset
from autosparse.errors import DataError

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """The folders and files of one of the two sets; the binary files are called ``NAME.bin``."""

    name: str
    binary: str
    pickled: str
    train: tuple[str, ...]
    test: str
    label_key: bytes
    label_bytes: int
    """Bytes before the pixels of a binary record; the last of them is the class."""
    classes: int


CIFAR10 = _Layout(
    name="cifar10",
    binary="cifar-10-batches-bin",
    pickled="cifar-10-batches-py",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test="test_batch",
    label_key=b"labels",
    label_bytes=1,
    classes=10,
)
CIFAR100 = _Layout(
    name="cifar100",
    binary="cifar-100-binary",
    pickled="cifar-100-python",
    train=("train",),
    test="test",
    label_key=b"fine_labels",
    label_bytes=2,
    classes=100,
)


@register_dataset("cifar10", locate=lambda root, _: _files(CIFAR10, root, download=False))
def cifar10(root: Path, argument: str, download: bool) -> Dataset:
    """CIFAR-10, 50,000 + 10,000 colour 32x32 images, from cifar-10-batches-bin or -py under the data root."""
    return _load(CIFAR10, root, download)


@register_dataset("cifar100", locate=lambda root, _: _files(CIFAR100, root, download=False))
def cifar100(root: Path, argument: str, download: bool) -> Dataset:
    """CIFAR-100, 50,000 + 10,000 colour 32x32 images, fine labels, from cifar-100-binary or -python under the root."""
    return _load(CIFAR100, root, download)


def _load(layout: _Layout, root: Path, download: bool) -> Dataset:
    files = _files(layout, root, download)
    pieces = [_read(path, layout) for path in files]
    train = torch.cat([images for images, _ in pieces[:-1]]), torch.cat([labels for _, labels in pieces[:-1]])
    return make_dataset(layout.name, train, pieces[-1], layout.classes)


def _files(layout: _Layout, root: Path, download: bool) -> list[Path]:
    """The training files and then the test file, of the binary layout if it is whole, else of the pickled one."""
    names = (*layout.train, layout.test)
    binary = [root / layout.binary / f"{name}.bin" for name in names]
    pickled = [root / layout.pickled / name for name in names]
    layouts = (binary, pickled)
    if download and not any(all(path.is_file() for path in files) for files in layouts):
        _download(layout, root)
    for files in layouts:
        if all(path.is_file() for path in files):
            return files
    partial = next((files for files in layouts if files[0].parent.is_dir()), pickled)
    missing = next(path for path in partial if not path.is_file())
    raise DataError(
        f"{layout.name} is not under {root}: no {missing}; point --data-root or AUTOSPARSE_DATA at the folder "
        f"that holds {layout.pickled} or {layout.binary}, or pass --download"
    )


def _download(layout: _Layout, root: Path) -> None:
    """Fetch and unpack the archive without torchvision's own reader, which would unpickle it."""
    from torchvision import datasets  # here: only a download needs it, and it takes seconds to import
    from torchvision.datasets.utils import download_and_extract_archive

    archive = getattr(datasets, layout.name.upper())
    with fetching(layout.name, root / layout.pickled):
        download_and_extract_archive(archive.url, str(root), filename=archive.filename, md5=archive.tgz_md5)


def _read(path: Path, layout: _Layout) -> tuple[Tensor, Tensor]:
    """Images uint8 (n, 3, 32, 32) and labels int64 (n,) of one file."""
    if path.suffix == ".bin":
        images, labels = _read_binary(path, layout.label_bytes)
    else:
        images, labels = read_pickled(path, layout.label_key)
    if images.ndim != 2 or images.shape[1] != PIXELS or labels.shape != images.shape[:1] or not len(labels):
        raise DataError(f"{path} holds images {images.shape} and labels {labels.shape}, not (n, {PIXELS}) and (n,)")
    if labels.min() < 0 or labels.max() >= layout.classes:
        wrong = labels[(labels < 0) | (labels >= layout.classes)][0]
        raise DataError(f"{path} holds the label {wrong}, outside 0..{layout.classes - 1}; fetch it again")
    return torch.from_numpy(images.reshape(-1, 3, 32, 32).copy()), torch.from_numpy(labels.astype(np.int64))


def _read_binary(path: Path, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.fromfile(path, np.uint8)
    record = label_bytes + PIXELS
    if values.size == 0 or values.size % record:
        raise DataError(
            f"{path} is truncated: {values.size} bytes are not a whole number of {record}-byte records; fetch it again"
        )
    records = values.reshape(-1, record)
    return records[:, label_bytes:], records[:, label_bytes - 1]
