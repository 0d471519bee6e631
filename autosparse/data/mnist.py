"""MNIST (LeCun et al. 1998) from its four IDX files, raw or gzipped."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autosparse.data import register_dataset
from autosparse.data.split import Dataset, make_dataset
from autosparse.errors import DataError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@register_dataset("mnist")
def mnist(root: Path, argument: str, download: bool) -> Dataset:
    """MNIST, 60,000 + 10,000 grey 28x28 images, from MNIST/raw/*-ubyte[.gz] under the data root."""
    folder = root / "MNIST" / "raw"
    if download and not all(_there(folder, name) for name in FILES):
        from torchvision.datasets import MNIST  # imported here: only a download needs it

        try:
            MNIST(str(root), download=True)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"cannot fetch MNIST into {root}: {str(error).splitlines()[0]}; put its four files in {folder} yourself"
            ) from error
    train_x, train_y, test_x, test_y = (read_idx(folder, name) for name in FILES)
    for values, rank, name in zip((train_x, train_y, test_x, test_y), (3, 1, 3, 1), FILES, strict=True):
        if values.ndim != rank:
            raise DataError(f"{folder / name} holds {values.ndim} dimensions, not {rank}: two files are mixed up")
    return make_dataset("mnist", (train_x[:, None], train_y.long()), (test_x[:, None], test_y.long()))


def _there(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]


def read_idx(folder: Path, name: str) -> Tensor:
    """Read ``name`` or ``name.gz`` of uint8 values into a tensor of the shape in its header."""
    found = _there(folder, name)
    if not found:
        raise DataError(
            f"MNIST is not under {folder.parent.parent}: no {folder / name}[.gz]; "
            "point --data-root or AUTOSPARSE_DATA at the folder that holds MNIST/raw, or pass --download"
        )
    path = found[0]
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
