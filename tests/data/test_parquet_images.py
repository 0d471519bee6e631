import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from autosparse.data import load_dataset
from autosparse.errors import DataError


def png(pixels, mode=None):
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


def colour(seed, shape=(4, 5, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(path, encoded, labels, image_column="image", label_column="label"):
    """One Parquet file in the Hugging Face layout: struct<bytes, path>, int64."""
    rows = [None if data is None else {"bytes": data, "path": None} for data in encoded]
    images = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({image_column: images, label_column: pa.array(labels)}), path)


@pytest.fixture
def four_images(tmp_path):
    """Three training images in two files and one test image; tests overwrite what they break."""
    write(tmp_path / "train-00000-of-00002.parquet", [png(colour(0)), png(colour(1))], [2, 0])
    write(tmp_path / "train-00001-of-00002.parquet", [png(colour(2))], [1])
    write(tmp_path / "test-00000-of-00001.parquet", [png(colour(3))], [0])
    return tmp_path


def load(folder):
    return load_dataset(f"parquet:{folder}")


def test_images_come_channels_first_in_the_order_of_files_and_rows(four_images):
    expected = np.stack([colour(seed) for seed in range(3)]).transpose(0, 3, 1, 2)
    assert torch.equal(load(four_images).train.images, torch.from_numpy(expected))


def test_labels_follow_their_images(four_images):
    data = load(four_images)
    assert (data.train.labels.tolist(), data.test.labels.tolist(), data.num_classes) == ([2, 0, 1], [0], 3)


@pytest.mark.parametrize("column", ["image", "img"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
def test_column_names_in_use(tmp_path, column, label):
    for split in ("train", "test"):
        write(tmp_path / f"{split}-0.parquet", [png(colour(0))], [3], column, label)
    assert load(tmp_path).train.labels.tolist() == [3]


def test_plain_bytes_in_place_of_the_struct(tmp_path):
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": [png(colour(0))], "label": [3]}), tmp_path / f"{split}-0.parquet")
    assert torch.equal(load(tmp_path).train.images[0], torch.from_numpy(colour(0).transpose(2, 0, 1)))


@pytest.mark.parametrize("split", ["test", "validation", "valid"])
def test_names_of_the_test_split(tmp_path, split):
    write(tmp_path / "train-0.parquet", [png(colour(0))], [0])
    write(tmp_path / f"{split}-0.parquet", [png(colour(1))], [1])
    assert load(tmp_path).test.labels.tolist() == [1]


def test_validation_images_are_no_part_of_the_test_split(tmp_path):
    for label, split in enumerate(["train", "test", "validation"]):
        write(tmp_path / f"{split}-0.parquet", [png(colour(0))], [label])
    assert load(tmp_path).test.labels.tolist() == [1]


def test_files_may_lie_in_a_sub_folder(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "data" / f"{split}-0.parquet", [png(colour(0))], [3])
    assert len(load(tmp_path).train) == 1


def test_relative_path_is_looked_up_under_the_root(four_images):
    assert len(load_dataset(f"parquet:{four_images.name}", four_images.parent).train) == 3


def test_grey_images_have_one_channel(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / f"{split}-0.parquet", [png(colour(0, (1, 4, 5))[0])], [0])
    assert torch.equal(load(tmp_path).train.images[0], torch.from_numpy(colour(0, (1, 4, 5))))


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_other_modes_become_rgb(tmp_path, mode):
    pixels = np.full((4, 5, 3), (255, 0, 51), np.uint8)
    for split in ("train", "test"):
        write(tmp_path / f"{split}-0.parquet", [png(pixels, mode)], [0])
    image = load(tmp_path).train.images[0]
    assert (tuple(image.shape), image[:, 0, 0].tolist()) == ((3, 4, 5), [255, 0, 51])


def test_absent_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder 'nowhere', neither under the data root .* nor here"):
        load_dataset("parquet:nowhere", tmp_path)


def test_absent_split_is_named(tmp_path):
    write(tmp_path / "train-0.parquet", [png(colour(0))], [0])
    with pytest.raises(DataError, match=r"has no test-\*\.parquet or validation-\*\.parquet"):
        load(tmp_path)


def test_missing_column_is_named_with_those_there(four_images):
    write(four_images / "train-00001-of-00002.parquet", [png(colour(0))], [0], label_column="class")
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet needs a column.*'image', 'class'"):
        load(four_images)


def test_truncated_file_is_named(four_images):
    path = four_images / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet is truncated"):
        load(four_images)


def test_rows_without_image_bytes_are_refused(four_images):
    write(four_images / "train-00001-of-00002.parquet", [png(colour(0)), None], [0, 1])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet has rows without image bytes or label"):
        load(four_images)


def test_rows_without_label_are_refused(four_images):
    write(four_images / "train-00001-of-00002.parquet", [png(colour(0)), png(colour(1))], [0, None])
    with pytest.raises(DataError, match="has rows without image bytes or label"):
        load(four_images)


@pytest.mark.parametrize("encoded", [b"no image", png(colour(0))[:60]])
def test_images_that_cannot_be_decoded_are_refused(four_images, encoded):
    write(four_images / "train-00001-of-00002.parquet", [encoded], [0])
    with pytest.raises(DataError, match="cannot be decoded"):
        load(four_images)


@pytest.mark.parametrize("split", ["train-00001-of-00002", "test-00000-of-00001"])
def test_images_of_different_shapes_are_refused(four_images, split):
    write(four_images / f"{split}.parquet", [png(colour(0, (5, 5, 3)))], [0])
    with pytest.raises(DataError, match="mixes images of different shapes"):
        load(four_images)


def test_images_given_only_by_path_are_refused(tmp_path):
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": [{"path": "x.png"}], "label": [0]}), tmp_path / f"{split}-0.parquet")
    with pytest.raises(DataError, match=r"train-0\.parquet"):
        load(tmp_path)


def test_real_cifar10_jpegs_decode_to_what_pillow_says(data_root, tmp_path):
    source = data_root / "cifar10-jpeg"
    if not source.is_dir():
        pytest.skip(f"no cifar10-jpeg under {data_root}")
    for split in ("train", "test"):
        rows = next(pq.ParquetFile(source / f"{split}-00000-of-00001.parquet").iter_batches(20))
        pq.write_table(pa.Table.from_batches([rows]), tmp_path / f"{split}-0.parquet")
    data = load(tmp_path)
    first = Image.open(io.BytesIO(rows.column("img")[0]["bytes"].as_py())).convert("RGB")
    assert (len(data.train), data.input_shape) == (20, (3, 32, 32))
    assert torch.equal(data.test.images[0], torch.from_numpy(np.array(first).transpose(2, 0, 1)))
