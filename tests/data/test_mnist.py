import gzip
import struct

import numpy as np
import pytest
import torch

from autosparse.data import load_dataset
from autosparse.data.mnist import read_idx
from autosparse.errors import DataError

IMAGES = {
    "train": np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8),
    "t10k": np.full((2, 28, 28), 7, np.uint8),
}
LABELS = {"train": np.array([5, 0, 9], np.uint8), "t10k": np.array([1, 2], np.uint8)}


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(params=["raw", "gz"])
def root(request, tmp_path):
    """A data root with the four files of a tiny MNIST, raw or gzipped."""
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for split in ("train", "t10k"):
        for kind, array in (("images-idx3", IMAGES[split]), ("labels-idx1", LABELS[split])):
            path = tmp_path / "MNIST" / "raw" / f"{split}-{kind}-ubyte"
            if request.param == "gz":
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                path.write_bytes(idx(array))
    return tmp_path


def test_images_and_labels_are_read_as_stored(root):
    mnist = load_dataset("mnist", root)
    assert torch.equal(mnist.train.images, torch.from_numpy(IMAGES["train"])[:, None])
    assert mnist.train.labels.tolist() == [5, 0, 9]
    assert torch.equal(mnist.test.images, torch.from_numpy(IMAGES["t10k"])[:, None])
    assert mnist.test.labels.tolist() == [1, 2]


def test_labels_are_int64(root):
    assert load_dataset("mnist", root).train.labels.dtype == torch.int64


@pytest.mark.parametrize("split", ["train", "t10k"])
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_missing_file_is_named(root, split, kind):
    next((root / "MNIST" / "raw").glob(f"{split}-{kind}-ubyte*")).unlink()
    with pytest.raises(DataError, match=rf"no .*{split}-{kind}-ubyte\[\.gz\]; point --data-root"):
        load_dataset("mnist", root)


def test_truncated_file_is_named(root):
    path = next((root / "MNIST" / "raw").glob("t10k-images*"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{path.name} is truncated"):
        load_dataset("mnist", root)


def test_truncation_says_what_the_header_promises(tmp_path):
    (tmp_path / "x").write_bytes(idx(IMAGES["train"])[:-10])
    with pytest.raises(DataError, match=r"promises \[3, 28, 28\], 2342 bytes follow"):
        read_idx(tmp_path, "x")


def test_every_truncation_is_refused(tmp_path):
    whole = idx(np.ones((2, 3), np.uint8))
    for length in range(len(whole)):
        (tmp_path / "x").write_bytes(whole[:length])
        with pytest.raises(DataError, match="fetch it again"):
            read_idx(tmp_path, "x")


def test_trailing_bytes_are_refused(tmp_path):
    (tmp_path / "x").write_bytes(idx(LABELS["train"]) + b"\0")
    with pytest.raises(DataError, match=r"promises \[3\], 4 bytes follow"):
        read_idx(tmp_path, "x")


@pytest.mark.parametrize("magic", [b"\0\0\x0d\x01", b"\x01\0\x08\x01", b"\x89PNG", b"<!DO"])
def test_bad_magic_is_refused(tmp_path, magic):
    (tmp_path / "x").write_bytes(magic + idx(LABELS["train"])[4:])
    with pytest.raises(DataError, match=r"/x is not an IDX file of bytes"):
        read_idx(tmp_path, "x")


@pytest.mark.parametrize("content", [b"no gzip at all", gzip.compress(b"abc", mtime=0)[:-3]])
def test_broken_gzip_is_named(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"/x\.gz is truncated or not a gzip file"):
        read_idx(tmp_path, "x")


def test_as_many_labels_as_images_are_needed(root):
    next((root / "MNIST" / "raw").glob("train-labels*")).unlink()
    (root / "MNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(2, np.uint8)))
    with pytest.raises(DataError, match="one label per image"):
        load_dataset("mnist", root)


@pytest.fixture(scope="module")
def real(data_root):
    if not (data_root / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST/raw under {data_root}")
    return load_dataset("mnist", data_root)


def test_real_mnist_has_its_published_size(real):
    assert (tuple(real.train.images.shape), len(real.test), real.num_classes) == ((60_000, 1, 28, 28), 10_000, 10)


def test_real_mnist_has_its_published_mean_and_deviation(real):
    assert real.train.mean.item() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert real.train.std.item() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_real_mnist_starts_with_the_published_labels(real):
    assert real.train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert real.test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
