import numpy as np
import pytest
import torch
from image_trees import pixels, read, save

from autosparse.data import load_dataset
from autosparse.errors import DataError

WNIDS = ["n02124075", "n01443537", "n04067472"]
"""Not sorted, as in the published file."""
VAL = {"val_0.JPEG": "n04067472", "val_1.JPEG": "n02124075", "val_10.JPEG": "n01443537", "val_2.JPEG": "n04067472"}


def annotate(folder, lines):
    (folder / "val" / "val_annotations.txt").write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def unpacked(tmp_path):
    """Two training images of each of three classes and four of val, in the layout of tiny-imagenet-200.zip."""
    folder = tmp_path / "tiny-imagenet-200"
    for c, wnid in enumerate(WNIDS):
        for i in range(2):
            save(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", pixels(10 * c + i))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t62\t62\n")
    for i, name in enumerate(VAL):
        save(folder / "val" / "images" / name, pixels(100 + i))
    save(folder / "test" / "images" / "test_0.JPEG", pixels(200))
    annotate(folder, [f"{name}\t{wnid}\t0\t32\t44\t62" for name, wnid in VAL.items()])
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    (folder / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\n")
    return folder


def load(folder):
    return load_dataset("tiny-imagenet", folder.parent)


def test_labels_are_places_among_the_sorted_wnids(unpacked):
    data = load(unpacked)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.num_classes == 3


def test_training_images_are_what_pillow_decodes_by_class_and_name(unpacked):
    paths = [
        unpacked / "train" / wnid / "images" / f"{wnid}_{i}.JPEG"
        for wnid in ("n01443537", "n02124075", "n04067472")
        for i in (0, 1)
    ]
    expected = np.stack([read(path) for path in paths])
    assert torch.equal(load(unpacked).train.images, torch.from_numpy(expected))


def test_validation_labels_come_from_the_annotations(unpacked):
    data = load(unpacked)
    by_image = {image.numpy().tobytes(): int(label) for image, label in zip(*vars_of(data.test), strict=True)}
    for name, wnid in VAL.items():
        assert by_image[read(unpacked / "val" / "images" / name).tobytes()] == sorted(WNIDS).index(wnid)


def vars_of(split):
    return split.images, split.labels


def test_the_order_of_the_annotations_does_not_matter(unpacked):
    before = load(unpacked).fingerprint
    annotate(unpacked, [f"{name}\t{wnid}\t0\t32\t44\t62" for name, wnid in reversed(VAL.items())])
    assert load(unpacked).fingerprint == before


def test_grey_images_become_colour(unpacked):
    path = save(unpacked / "train" / WNIDS[1] / "images" / f"{WNIDS[1]}_0.JPEG", pixels(0), "L")
    image = load(unpacked).train.images[0]
    assert torch.equal(image, torch.from_numpy(read(path)))
    assert torch.equal(image[0], image[2])


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
def test_missing_list_is_named(unpacked, name):
    (unpacked / name).unlink()
    with pytest.raises(DataError, match=rf"no {unpacked}/{name}: unpack tiny-imagenet-200.zip"):
        load(unpacked)


def test_class_without_images_is_named(unpacked):
    for path in (unpacked / "train" / WNIDS[0] / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=rf"train/{WNIDS[0]}/images holds no \*.JPEG, but wnids.txt names {WNIDS[0]}"):
        load(unpacked)


def test_missing_line_of_the_annotations_is_named(unpacked):
    annotate(unpacked, [f"{name}\t{wnid}\t0\t1\t2\t3" for name, wnid in VAL.items() if name != "val_10.JPEG"])
    with pytest.raises(DataError, match=r"images/val_10.JPEG has no line in .*val_annotations.txt"):
        load(unpacked)


def test_missing_validation_image_is_named(unpacked):
    (unpacked / "val" / "images" / "val_1.JPEG").unlink()
    with pytest.raises(DataError, match=r"images/val_1.JPEG is missing, but .*val_annotations.txt has its label"):
        load(unpacked)


@pytest.mark.parametrize(
    "line", ["val_0.JPEG\tn00000000\t0\t1\t2\t3", "val_0.JPEG", "", "val_0.JPEG n04067472 0 1 2 3"]
)
def test_line_without_a_known_class_is_named(unpacked, line):
    annotate(unpacked, ["val_1.JPEG\tn02124075\t0\t1\t2\t3", line])
    with pytest.raises(DataError, match=r"val_annotations.txt, line 2: '\S*' is not one of the classes in wnids.txt"):
        load(unpacked)


@pytest.mark.parametrize("where", ["train/n01443537/images/n01443537_1.JPEG", "val/images/val_2.JPEG"])
def test_truncated_image_is_named(unpacked, where):
    path = unpacked / where
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=rf"{where} cannot be decoded"):
        load(unpacked)


def test_image_of_another_size_is_named(unpacked):
    save(unpacked / "val" / "images" / "val_2.JPEG", pixels(0, 64, 65))
    with pytest.raises(DataError, match=r"val_2.JPEG is 65x64, not 64x64"):
        load(unpacked)
