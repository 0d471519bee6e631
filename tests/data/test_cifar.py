import hashlib
import pickle
import tarfile

import cifar_files
import numpy as np
import pytest
import torch
from cifar_files import CIFAR10, CIFAR100, python2_pickle

from autosparse.data import load_dataset
from autosparse.errors import DataError


def write(root, name, layout):
    """Write ``cifar10`` or ``cifar100`` in the ``binary`` or ``pickled`` layout; return the folder."""
    ten = name == "cifar10"
    files = CIFAR10 if ten else CIFAR100
    if layout == "binary":
        folder = root / ("cifar-10-batches-bin" if ten else "cifar-100-binary")
        cifar_files.write_binaries(folder, files, b"" if ten else bytes([cifar_files.COARSE]))
    else:
        folder = root / ("cifar-10-batches-py" if ten else "cifar-100-python")
        cifar_files.write_pickles(folder, files, b"labels" if ten else b"fine_labels")
    return folder


@pytest.fixture
def pickled_cifar10(tmp_path):
    """CIFAR-10 in the pickled layout; tests overwrite what they break."""
    return write(tmp_path, "cifar10", "pickled")


@pytest.mark.parametrize("layout", ["binary", "pickled"])
def test_cifar10_is_read_pixel_by_pixel_in_the_order_of_its_files(tmp_path, layout):
    write(tmp_path, "cifar10", layout)
    data = load_dataset("cifar10", tmp_path)
    train = np.concatenate([CIFAR10[f"data_batch_{i}"][0] for i in range(1, 6)])
    assert torch.equal(data.train.images.flatten(1), torch.from_numpy(train))
    assert data.train.labels.tolist() == [1, 3, 2, 6, 3, 9, 4, 2, 5, 5]
    assert torch.equal(data.test.images.flatten(1), torch.from_numpy(CIFAR10["test_batch"][0]))
    assert (data.test.labels.tolist(), data.test.labels.dtype) == ([9, 0, 4], torch.int64)


@pytest.mark.parametrize("layout", ["binary", "pickled"])
def test_cifar100_has_its_fine_labels(tmp_path, layout):
    write(tmp_path, "cifar100", layout)
    data = load_dataset("cifar100", tmp_path)
    assert torch.equal(data.train.images.flatten(1), torch.from_numpy(CIFAR100["train"][0]))
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([99, 3, 50, 0], [1, 98])
    assert data.num_classes == 100


def test_pixels_are_a_red_a_green_and_a_blue_plane_of_rows(tmp_path):
    write(tmp_path, "cifar10", "binary")
    image = load_dataset("cifar10", tmp_path).train.images[0]
    stored = CIFAR10["data_batch_1"][0][0]
    assert [int(image[c, 5, 7]) for c in range(3)] == [int(stored[1024 * c + 32 * 5 + 7]) for c in range(3)]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_both_layouts_are_the_same_data(tmp_path, name):
    for layout in ("binary", "pickled"):
        write(tmp_path / layout, name, layout)
    first, second = (load_dataset(name, tmp_path / layout).fingerprint for layout in ("binary", "pickled"))
    assert first == second


def test_ten_classes_even_where_few_labels_occur(tmp_path, monkeypatch):
    monkeypatch.setitem(CIFAR10, "test_batch", (cifar_files.pixels(0, 1), [0]))
    write(tmp_path, "cifar10", "binary")
    assert load_dataset("cifar10", tmp_path).num_classes == 10


def test_the_layout_without_pickles_is_preferred(tmp_path):
    write(tmp_path, "cifar10", "binary")
    (write(tmp_path, "cifar10", "pickled") / "test_batch").write_bytes(b"not read")
    assert len(load_dataset("cifar10", tmp_path).test) == 3


def test_a_whole_pickled_layout_is_taken_beside_a_half_binary_one(tmp_path):
    (write(tmp_path, "cifar10", "binary") / "test_batch.bin").unlink()
    write(tmp_path, "cifar10", "pickled")
    assert len(load_dataset("cifar10", tmp_path).test) == 3


def test_arrays_may_be_stored_by_columns(pickled_cifar10):
    images, labels = CIFAR10["test_batch"]
    content = python2_pickle({b"data": np.asfortranarray(images), b"labels": labels})
    (pickled_cifar10 / "test_batch").write_bytes(content)
    assert torch.equal(load_dataset("cifar10", pickled_cifar10.parent).test.images.flatten(1), torch.from_numpy(images))


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated")
def test_the_written_pickles_are_what_a_plain_reader_takes_for_cifar():
    images, labels = CIFAR10["test_batch"]
    content = python2_pickle({b"data": images, b"labels": labels})
    read = pickle.loads(content, encoding="bytes")
    assert np.array_equal(read[b"data"], images)
    assert read[b"labels"] == labels
    assert b"cnumpy.core.multiarray\n_reconstruct" in content
    assert b"_codecs" not in content


class Attack:
    """What a malicious pickle does when it is loaded: here it makes a file."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(path):
    import os

    return {
        "os.mkdir": Attack(os.mkdir, str(path)),
        "os.system": Attack(os.system, f"touch {path}"),
        "builtins.open": Attack(open, str(path), "w"),
        "numpy.save": Attack(np.save, str(path), 1),
    }


@pytest.mark.parametrize("kind", ["os.mkdir", "os.system", "builtins.open", "numpy.save"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_malicious_pickle_is_refused_and_not_executed(pickled_cifar10, tmp_path, kind, protocol):
    target = tmp_path / "made by the attack"
    images, labels = CIFAR10["data_batch_1"]
    poisoned = {b"data": images, b"labels": labels, b"extra": attacks(target)[kind]}
    (pickled_cifar10 / "data_batch_1").write_bytes(pickle.dumps(poisoned, protocol=protocol))
    with pytest.raises(DataError, match=r"data_batch_1 is refused: it names \S+, which no file of CIFAR does"):
        load_dataset("cifar10", tmp_path)
    assert not list(tmp_path.glob("made by*"))


def test_the_attack_of_the_test_above_works_on_a_plain_reader(tmp_path):
    pickle.loads(pickle.dumps(attacks(tmp_path / "made")["os.mkdir"], protocol=2))
    assert (tmp_path / "made").exists()


def test_numpy_functions_named_by_the_file_are_not_called_either(pickled_cifar10, monkeypatch):
    monkeypatch.setattr(np._core.multiarray, "_reconstruct", None)
    assert len(load_dataset("cifar10", pickled_cifar10.parent).test) == 3


@pytest.mark.parametrize("layout", ["binary", "pickled"])
@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
def test_missing_file_is_named(tmp_path, layout, name):
    folder = write(tmp_path, "cifar10", layout)
    next(folder.glob(f"{name}*")).unlink()
    with pytest.raises(DataError, match=rf"cifar10 is not under .*: no {folder}/{name}[.bin]*; point --data-root"):
        load_dataset("cifar10", tmp_path)


def test_nothing_there_says_what_is_wanted(tmp_path):
    with pytest.raises(DataError, match=r"holds cifar-100-python or cifar-100-binary, or pass --download"):
        load_dataset("cifar100", tmp_path)


@pytest.mark.parametrize("left", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_truncated_binary_is_named(tmp_path, left):
    path = write(tmp_path, "cifar10", "binary") / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(
        DataError, match=rf"data_batch_2.bin .*: {left} bytes are not a whole number of 3073-byte records"
    ):
        load_dataset("cifar10", tmp_path)


def test_every_truncation_of_a_pickle_is_refused(pickled_cifar10):
    path = pickled_cifar10 / "data_batch_2"
    whole = path.read_bytes()
    for length in [*range(0, 150), *range(150, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"data_batch_2 is truncated or not a batch of CIFAR .*; fetch it again"):
            load_dataset("cifar10", pickled_cifar10.parent)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({b"labels": [1]}, "KeyError"),
        ({b"data": b"xyz", b"labels": [1]}, "truncated or not a batch"),
        ({b"data": np.zeros((1, 3072), np.float32), b"labels": [1]}, r"pixels are of type b?'f4', not bytes"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, r"images \(2, 3072\) and labels \(1,\)"),
        ({b"data": np.zeros((1, 3071), np.uint8), b"labels": [1]}, r"images \(1, 3071\)"),
        ({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}, r"images \(0, 3072\)"),
        ([1, 2], "truncated or not a batch"),
    ],
)
def test_a_pickle_of_something_else_is_refused(pickled_cifar10, content, reason):
    (pickled_cifar10 / "test_batch").write_bytes(python2_pickle(content))
    with pytest.raises(DataError, match=rf"test_batch.*{reason}"):
        load_dataset("cifar10", pickled_cifar10.parent)


@pytest.mark.parametrize(("name", "label"), [("cifar10", 10), ("cifar100", 100)])
@pytest.mark.parametrize("layout", ["binary", "pickled"])
def test_a_label_of_no_class_is_named(tmp_path, monkeypatch, name, label, layout):
    files, file = (CIFAR10, "test_batch") if name == "cifar10" else (CIFAR100, "test")
    monkeypatch.setitem(files, file, (files[file][0][:2], [0, label]))
    write(tmp_path, name, layout)
    with pytest.raises(DataError, match=rf"{file}\S* holds the label {label}, outside 0..{label - 1}"):
        load_dataset(name, tmp_path)


def archive(name, server):
    """Pack the data set on the server; return its checksum."""
    folder = write(server, name, "pickled")
    with tarfile.open(server / "c.tar.gz", "w:gz") as packed:
        packed.add(folder, folder.name)
    return hashlib.md5((server / "c.tar.gz").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_download_fetches_and_unpacks_the_archive(tmp_path, monkeypatch, server, name):
    from torchvision import datasets

    monkeypatch.setattr(getattr(datasets, name.upper()), "tgz_md5", archive(name, server))
    monkeypatch.setattr(getattr(datasets, name.upper()), "url", f"file://{server}/c.tar.gz")
    fetched = load_dataset(name, tmp_path / "data", download=True)
    assert fetched.fingerprint == load_dataset(name, server).fingerprint


def test_download_with_a_wrong_checksum_is_refused(tmp_path, monkeypatch, server):
    from torchvision import datasets

    archive("cifar10", server)
    monkeypatch.setattr(datasets.CIFAR10, "url", f"file://{server}/c.tar.gz")
    with pytest.raises(DataError, match=r"cannot fetch cifar10: File not found or corrupted.; put its files in"):
        load_dataset("cifar10", tmp_path / "data", download=True)
    assert not (tmp_path / "data" / "cifar-10-batches-py").exists()
