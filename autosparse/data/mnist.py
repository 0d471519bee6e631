"""MNIST (LeCun et al. 1998), and Fashion-MNIST (Xiao et al. 2017) in its layout: four IDX files, raw or gzipped."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autosparse.data import register_dataset
from autosparse.data.folders import fetching
from autosparse.data.split import Dataset, make_dataset
from autosparse.errors import DataError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@register_dataset("mnist", locate=lambda root, _: _locate("MNIST", root))
def mnist(root: Path, argument: str, download: bool) -> Dataset:
    """MNIST, 60,000 + 10,000 grey 28x28 images, from MNIST/raw/*-ubyte[.gz] under the data root."""
    return _load("mnist", "MNIST", root, download)


@register_dataset("fashion-mnist", locate=lambda root, _: _locate("FashionMNIST", root))
def fashion_mnist(root: Path, argument: str, download: bool) -> Dataset:
    """Fashion-MNIST, 60,000 + 10,000 grey 28x28 images, from FashionMNIST/raw/*-ubyte[.gz] under the data root."""
    return _load("fashion-mnist", "FashionMNIST", root, download)


def _load(name: str, title: str, root: Path, download: bool) -> Dataset:
    """Read the data set ``name`` from ``TITLE/raw/*-ubyte[.gz]``; ``title`` is also the name of torchvision's class."""
    folder = root / title / "raw"
    if download and not all(_existing(folder, file) for file in FILES):
        from torchvision import datasets  # here: only a download needs it, and it takes seconds to import

        with fetching(title, folder):
            getattr(datasets, title)(str(root), download=True)
    train_x, train_y, test_x, test_y = (read_idx(folder, file) for file in FILES)
    for values, rank, file in zip((train_x, train_y, test_x, test_y), (3, 1, 3, 1), FILES, strict=True):
        if values.ndim != rank:
            raise DataError(
                f"{folder / file} holds {values.ndim} dimensions, not {rank}: two files are mixed up; fetch them again"
            )
    return make_dataset(name, (train_x[:, None], train_y.long()), (test_x[:, None], test_y.long()))


def _existing(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _existing_or_raise(folder: Path, name: str) -> Path:
    if (found := _existing(folder, name)) is not None:
        return found
    title = folder.parent.name
    raise DataError(
        f"{title} is not under {folder.parent.parent}: no {folder / name}[.gz]; "
        f"point --data-root or AUTOSPARSE_DATA at the folder that holds {title}/raw, or pass --download"
    )


def _locate(title: str, root: Path) -> None:
    """Raise :class:`DataError` if a file of the data set is missing."""
    for file in FILES:
        _existing_or_raise(root / title / "raw", file)


def read_idx(folder: Path, name: str) -> Tensor:
    """Read ``name`` or ``name.gz`` of uint8 values into a tensor of the shape in its header."""
    path = _existing_or_raise(folder, name)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or not a gzip file: {error}; fetch it again") from error
    rank = content[3] if len(content) >= 4 else 0
    offset = 4 + 4 * rank
    if content[:3] != b"\0\0\x08" or len(content) < offset:
        raise DataError(f"{path} is not an IDX file of bytes; fetch it again")
    shape = np.frombuffer(content, ">u4", count=rank, offset=4).astype(int).tolist()
    values = np.frombuffer(content, np.uint8, offset=offset)
    if values.size != np.prod(shape):
        raise DataError(f"{path} is truncated: its header promises {shape}, {values.size} bytes follow; fetch it again")
    return torch.from_numpy(values.reshape(shape).copy())
