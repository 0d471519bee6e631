import shutil

import pytest
import torch
from image_trees import pixels, save, write_folder

from autosparse.data import load_dataset
from autosparse.data.stream import StreamedSplit
from autosparse.data.validation import with_validation
from autosparse.errors import DataError

CLASSES = {"dog": [(30, 40), (9, 9)], "ant": [(20, 20)], "cat": [(20, 50)]}


@pytest.fixture
def pets(tmp_path):
    return write_folder(tmp_path / "pets", CLASSES, {"cat": [(20, 20)], "dog": [(20, 20)]})


def load(folder):
    return load_dataset(f"imagefolder:{folder}")


def paths(split):
    return [str(split.files.path(i).relative_to(split.files.folder)) for i in range(len(split))]


def test_labels_are_places_among_the_sorted_classes_of_train(pets):
    data = load(pets)
    assert paths(data.train) == ["ant/0.png", "cat/0.png", "dog/0.png", "dog/1.png"]
    assert data.train.files.labels.tolist() == [0, 1, 2, 2]
    assert paths(data.test) == ["cat/0.png", "dog/0.png"]
    assert data.test.files.labels.tolist() == [1, 2]


def test_facts_a_model_needs(pets):
    data = load_dataset("imagefolder:pets", pets.parent)
    assert (data.name, data.num_classes, data.input_shape) == ("imagefolder:pets", 3, (3, 224, 224))
    assert isinstance(data.train, StreamedSplit)


@pytest.mark.parametrize("name", ["val", "validation", "valid", "test"])
def test_names_of_the_test_split(tmp_path, name):
    write_folder(tmp_path, CLASSES, {"cat": [(20, 20)]}, test_name=name)
    assert paths(load(tmp_path).test) == ["cat/0.png"]


def test_sub_folders_and_every_usual_suffix_count_but_no_other_files(pets):
    save(pets / "train" / "ant" / "deep" / "er" / "9.JPEG", pixels(1))
    save(pets / "train" / "ant" / "._0.png", pixels(1))
    (pets / "train" / "ant" / "notes.txt").write_text("x")
    (pets / "train" / ".cache").mkdir()
    (pets / "train" / "list.csv").write_text("x")
    assert paths(load(pets).train)[:2] == ["ant/0.png", "ant/deep/er/9.JPEG"]
    assert len(load(pets).train) == 5


def test_validation_images_of_a_stream_are_training_files_that_are_no_longer_trained_on(pets):
    save(pets / "train" / "ant" / "deep" / "er" / "9.JPEG", pixels(1))
    whole = load(pets)
    parted = with_validation(whole, 0.4, 3)
    label = dict(zip(paths(whole.train), whole.train.files.labels.tolist(), strict=True))
    assert (len(parted.train), len(parted.test)) == (3, 2)
    assert sorted(paths(parted.train) + paths(parted.test)) == sorted(label)
    for part in (parted.train, parted.test):
        assert [label[path] for path in paths(part)] == part.files.labels.tolist()
        [(images, labels)] = part.batches(8)
        wanted = paths(whole.train).index(paths(part)[1])
        [(every, _)] = whole.train.batches(8)
        torch.testing.assert_close(images[1], every[wanted])
        assert labels.tolist() == part.files.labels.tolist()
    assert paths(whole.train.picked(torch.tensor([], dtype=torch.int64))) == []


@pytest.mark.parametrize("change", ["size", "name", "class", "more"])
def test_fingerprint_follows_paths_sizes_and_labels(pets, change):
    before = load(pets).fingerprint
    image = pets / "train" / "dog" / "1.png"
    if change == "size":
        image.write_bytes(image.read_bytes() + b"\0")
    elif change == "name":
        image.rename(image.with_name("2.png"))
    elif change == "class":
        image.rename(pets / "train" / "cat" / "1.png")
    else:
        shutil.copy(image, image.with_name("2.png"))
    assert load(pets).fingerprint != before


def test_fingerprint_does_not_depend_on_where_the_folder_lies(pets, tmp_path):
    shutil.copytree(pets, tmp_path / "moved")
    assert load(tmp_path / "moved").fingerprint == load(pets).fingerprint


@pytest.mark.parametrize(("gone", "message"), [("train", "no .*/train: "), ("val", r"no .*/val: .*val, validation,")])
def test_missing_split_is_named(pets, gone, message):
    shutil.rmtree(pets / gone)
    with pytest.raises(DataError, match=message):
        load(pets)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="no folder 'absent', neither under the data root"):
        load_dataset("imagefolder:absent", tmp_path)


def test_class_without_images_is_named(pets):
    (pets / "train" / "emu").mkdir()
    with pytest.raises(DataError, match=r"train/emu holds no images \(.jpeg, .*\); add some or remove it"):
        load(pets)


def test_a_link_to_nowhere_is_named(pets):
    (pets / "train" / "ant" / "1.png").symlink_to(pets / "nowhere.png")
    with pytest.raises(DataError, match=r"train/ant/1\.png cannot be read: No such file or directory; mend or remove"):
        load(pets)


def test_test_class_unknown_to_train_is_named(pets):
    save(pets / "val" / "emu" / "0.png", pixels(0))
    with pytest.raises(DataError, match=r"val/emu is a class that .*/train does not have"):
        load(pets)


def test_flat_validation_folder_says_how_to_sort_it(pets):
    shutil.rmtree(pets / "val")
    save(pets / "val" / "ILSVRC2012_val_00000001.JPEG", pixels(0))
    with pytest.raises(
        DataError, match=r"val has no class folders: move each image into .*ImageNet's val, torchvision"
    ):
        load(pets)


@pytest.fixture(scope="module")
def imagenet_root(tmp_path_factory):
    """ImageNet's layout: 1000 classes of one tiny image in each split."""
    root = tmp_path_factory.mktemp("root")
    content = save(root / "one.JPEG", pixels(0, 8, 8)).read_bytes()
    for i in range(1000):
        wnid = f"n{10_000_000 + i}"
        for split, name in (("train", f"{wnid}_12.JPEG"), ("val", f"ILSVRC2012_val_{i:08}.JPEG")):
            (root / "imagenet" / split / wnid).mkdir(parents=True)
            (root / "imagenet" / split / wnid / name).write_bytes(content)
    return root


def test_imagenet_is_a_folder_of_a_thousand_classes(imagenet_root):
    data = load_dataset("imagenet", imagenet_root)
    assert (data.name, data.num_classes, data.input_shape) == ("imagenet", 1000, (3, 224, 224))
    assert data.train.files.labels.tolist() == data.test.files.labels.tolist() == list(range(1000))


def test_imagenet_is_normalised_by_its_published_statistics(imagenet_root):
    split = load_dataset("imagenet", imagenet_root).train
    assert (split.mean / 255).tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert (split.std / 255).tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_part_of_imagenet_is_not_imagenet(pets):
    pets.rename(pets.with_name("imagenet"))
    with pytest.raises(DataError, match=r"holds 3 classes, ImageNet has 1000; for a part of it write imagefolder:/"):
        load_dataset("imagenet", pets.parent)


def test_absent_imagenet_says_what_is_wanted(tmp_path):
    with pytest.raises(DataError, match=r"no .*/imagenet: point --data-root .* imagenet/train/WNID/\*.JPEG"):
        load_dataset("imagenet", tmp_path)
