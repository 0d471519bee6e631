import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from autosparse.data import load_dataset
from autosparse.data.folders import fetching
from autosparse.errors import DataError

FILES = {
    "train-images-idx3-ubyte": np.arange(2 * 28 * 28).reshape(2, 28, 28).astype(np.uint8),
    "train-labels-idx1-ubyte": np.array([9, 4], np.uint8),
    "t10k-images-idx3-ubyte": np.full((1, 28, 28), 3, np.uint8),
    "t10k-labels-idx1-ubyte": np.array([0], np.uint8),
}


def write(folder):
    folder.mkdir(parents=True)
    for name, array in FILES.items():
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes()))


def check(data):
    assert data.name == "fashion-mnist"
    assert torch.equal(data.train.images[:, 0], torch.from_numpy(FILES["train-images-idx3-ubyte"]))
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([9, 4], [0])


def test_files_are_read_from_torchvisions_folder(tmp_path):
    write(tmp_path / "FashionMNIST" / "raw")
    check(load_dataset("fashion-mnist", tmp_path))


def test_mnist_in_its_place_is_not_taken(tmp_path):
    write(tmp_path / "MNIST" / "raw")
    with pytest.raises(DataError, match=r"FashionMNIST is not under .* the folder that holds FashionMNIST/raw"):
        load_dataset("fashion-mnist", tmp_path)


def test_download_puts_the_files_where_they_are_read(tmp_path, monkeypatch, server):
    from torchvision.datasets import FashionMNIST

    write(server)
    sums = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in server.iterdir()]
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"file://{server}/"])
    monkeypatch.setattr(FashionMNIST, "resources", sums)
    check(load_dataset("fashion-mnist", tmp_path / "data", download=True))


def test_failed_download_says_what_to_put_where(tmp_path, monkeypatch):
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", [f"file://{tmp_path}/absent/"])
    with pytest.raises(
        DataError, match=r"cannot fetch FashionMNIST: .*; put its files in .*/FashionMNIST/raw yourself"
    ):
        load_dataset("fashion-mnist", tmp_path, download=True)


def test_a_download_that_fails_without_a_word_is_told_by_its_kind(tmp_path):
    with (
        pytest.raises(DataError, match="cannot fetch FashionMNIST: TimeoutError; put its files in "),
        fetching("FashionMNIST", tmp_path),
    ):
        raise TimeoutError
