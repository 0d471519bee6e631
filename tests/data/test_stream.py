"""Streams: the interface of a split in memory, and batches that do not depend on the workers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from image_trees import write_folder

from autosparse.data import load_dataset
from autosparse.data.image_files import Decoder
from autosparse.data.split import Split
from autosparse.errors import AutosparseError, DataError, WorkFailed
from autosparse.seeds import generator

SIZES = [(300, 400), (260, 256), (90, 50), (230, 600), (256, 256)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("tree"), {"a": SIZES, "b": SIZES[:2]}, {"a": SIZES, "b": SIZES})
    return load_dataset(f"imagefolder:{folder}")


def in_memory(split):
    """The same images, centred, as a split in memory."""
    images, labels, _ = Decoder(split.files, whole=False).__getitems__(list(range(len(split))))
    return Split(images, labels, split.mean, split.std)


def equal(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second)
    return all(
        torch.equal(a, b) for left, right in zip(first, second, strict=True) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("limit", [None, 0, 1, 5, 99])
@pytest.mark.parametrize(("shuffled", "augmentation"), [(False, "none"), (True, "none"), (True, "crop-flip")])
def test_batches_equal_those_of_the_same_images_in_memory(dataset, shuffled, augmentation, limit):
    passes = [
        split.batches(3, generator(1) if shuffled else None, augmentation, limit)
        for split in (dataset.train, in_memory(dataset.train))
    ]
    assert equal(*passes)


def test_a_batch_is_normalised_float32_with_int64_labels(dataset):
    x, y = next(dataset.test.batches(4))
    assert (x.shape, x.dtype, y.dtype, len(y)) == ((4, 3, 224, 224), torch.float32, torch.int64, 4)


@pytest.mark.parametrize("augmentation", ["none", "random-resized-crop"])
def test_workers_do_not_change_the_batches(dataset, augmentation):
    passes = [replace(dataset.train, workers=workers).batches(2, generator(7), augmentation) for workers in (0, 2)]
    assert equal(*passes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_on_a_gpu_equal_those_on_a_cpu(dataset, workers):
    on_gpu = replace(dataset.train.to("cuda"), workers=workers)
    batches = list(on_gpu.batches(2, generator(7), "random-resized-crop"))
    assert {tensor.device.type for batch in batches for tensor in batch} == {"cuda"}
    for (x, y), (here_x, here_y) in zip(
        batches, dataset.train.batches(2, generator(7), "random-resized-crop"), strict=True
    ):
        torch.testing.assert_close(x.cpu(), here_x, atol=1e-4, rtol=1e-4)
        assert torch.equal(y.cpu(), here_y)


def test_seeds_give_the_order_and_the_crops(dataset):
    first, again, other = (list(dataset.train.batches(7, generator(seed), "random-resized-crop")) for seed in (1, 1, 2))
    assert equal(first, again)
    assert not equal(first, other)


def test_random_crops_see_the_edges_that_centres_lose(tmp_path):
    """An image black but for a white left tenth: crops meet white, the centre does not."""
    from PIL import Image

    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        array = np.zeros((256, 640, 3), np.uint8)
        array[:, :64] = 255
        Image.fromarray(array).save(tmp_path / split / "a" / "0.png")
    train = load_dataset(f"imagefolder:{tmp_path}").train
    white = (1 - 0.485) / 0.229
    [(middle, _)] = train.batches(1)
    assert middle[:, 0].max() < 0
    crops = [next(train.batches(1, generator(seed), "random-resized-crop"))[0] for seed in range(20)]
    assert max(crop[:, 0].max() for crop in crops) == pytest.approx(white, abs=1e-3)


def test_torchs_own_generator_is_left_alone(dataset):
    before = torch.random.get_rng_state()
    list(dataset.train.batches(4, generator(0), "random-resized-crop"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_pass_may_be_left_early(dataset):
    passing = replace(dataset.train, workers=1).batches(1, generator(0))
    next(passing)
    passing.close()


def test_to_moves_the_batches(dataset):
    moved = dataset.to("meta")
    assert (moved.train.device.type, moved.train.mean.device.type) == ("meta", "meta")
    assert next(moved.train.batches(2))[0].device.type == "meta"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named_in_one_line(tmp_path, workers):
    folder = write_folder(tmp_path, {"a": [(40, 40)] * 3}, {"a": [(40, 40)]})
    bad = folder / "train" / "a" / "1.png"
    bad.write_bytes(bad.read_bytes()[:60])
    split = replace(load_dataset(f"imagefolder:{folder}").train, workers=workers)
    with pytest.raises(DataError, match=rf"^{bad} cannot be decoded: [^\n]*$"):
        list(split.batches(1))


def test_a_file_that_vanished_is_named(tmp_path):
    folder = write_folder(tmp_path, {"a": [(40, 40)]}, {"a": [(40, 40)]})
    data = load_dataset(f"imagefolder:{folder}")
    (folder / "train" / "a" / "0.png").unlink()
    with pytest.raises(DataError, match=r"train/a/0.png cannot be decoded: .*No such file"):
        list(data.train.batches(1))


class Deadly:
    """A folder that kills the process which unpickles it, as if a worker ran out of memory."""

    def __reduce__(self):
        import os

        return os._exit, (1,)


def test_a_worker_that_dies_is_told_of_with_the_cure(dataset):
    split = replace(dataset.train, workers=1, files=replace(dataset.train.files, folder=Deadly()))
    with pytest.raises(WorkFailed, match=r"a process that decodes images died .* AUTOSPARSE_LOADER_WORKERS=0"):
        list(split.batches(1))


def test_number_of_workers_may_be_set_by_a_variable(dataset, monkeypatch):
    name = dataset.name
    assert load_dataset(name).train.workers is None
    monkeypatch.setenv("AUTOSPARSE_LOADER_WORKERS", "3")
    assert load_dataset(name).train.workers == load_dataset(name).test.workers == 3


@pytest.mark.parametrize("value", ["x", "-1", "1.5"])
def test_number_of_workers_must_be_a_number(dataset, monkeypatch, value):
    monkeypatch.setenv("AUTOSPARSE_LOADER_WORKERS", value)
    with pytest.raises(AutosparseError, match=rf"AUTOSPARSE_LOADER_WORKERS must be a whole number .* got '{value}'"):
        load_dataset(dataset.name)
