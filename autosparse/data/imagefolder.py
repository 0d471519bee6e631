"""Image folders sorted by class, streamed: ImageNet in its usual layout, and any other."""

import hashlib
import os
from pathlib import Path

import torch

from autosparse.data import register_dataset
from autosparse.data.decoded import folder_from_environment
from autosparse.data.folders import find_folder
from autosparse.data.image_files import Files
from autosparse.data.split import Dataset
from autosparse.data.stream import StreamedSplit, workers_from_environment
from autosparse.errors import DataError

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
TEST_SPLITS = ("val", "validation", "valid", "test")
IMAGENET_CLASSES = 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's statistics, for red, green and blue, as shares of 255; in use since torchvision's first models."""

Found = list[tuple[str, int]]
"""Paths below the folder of a split, sorted, and the files' sizes in bytes."""


@register_dataset("imagefolder", argument="PATH", locate=find_folder, streamed=True)
def imagefolder(root: Path, argument: str, download: bool) -> Dataset:
    """imagefolder:PATH, train/CLASS/* and val/CLASS/* (or validation, test) of any images; streamed, 224x224."""
    return read_imagefolder(f"imagefolder:{argument}", find_folder(root, argument))


def _imagenet_folder(root: Path, _: str = "") -> Path:
    folder = root / "imagenet"
    if not folder.is_dir():
        raise DataError(
            f"no {folder}: point --data-root or AUTOSPARSE_DATA at the folder that holds imagenet/train/WNID/*.JPEG "
            "and imagenet/val/WNID/*.JPEG; torchvision.datasets.ImageNet makes both from the archives"
        )
    return folder


@register_dataset("imagenet", locate=_imagenet_folder, streamed=True)
def imagenet(root: Path, argument: str, download: bool) -> Dataset:
    """ImageNet (ILSVRC 2012), 1000 classes, from imagenet/train/WNID/* and imagenet/val/WNID/*; streamed, 224x224."""
    folder = _imagenet_folder(root)
    dataset = read_imagefolder("imagenet", folder)
    if dataset.num_classes != IMAGENET_CLASSES:
        raise DataError(
            f"{folder / 'train'} holds {dataset.num_classes} classes, ImageNet has {IMAGENET_CLASSES}; "
            f"for a part of it write imagefolder:{folder}"
        )
    return dataset


def read_imagefolder(name: str, folder: Path) -> Dataset:
    """List ``folder``; labels are the ranks of the class folders' sorted names, the normalisation is ImageNet's.

    :raises DataError: for a missing split, a class without images, or a test class that train does not have.
    """
    train = folder / "train"
    test = next((folder / split for split in TEST_SPLITS if (folder / split).is_dir()), folder / TEST_SPLITS[0])
    train_found, test_found = _classes(train), _classes(test)
    for split, found in ((train, train_found), (test, test_found)):
        empty = next((name for name, images in found.items() if not images), None)
        if empty:
            raise DataError(f"{split / empty} holds no images ({', '.join(SUFFIXES)}); add some or remove it")
    unknown = min(test_found.keys() - train_found.keys(), default=None)
    if unknown:
        raise DataError(f"{test / unknown} is a class that {train} does not have; rename or remove it")
    labels = {class_name: label for label, class_name in enumerate(sorted(train_found))}
    digest = hashlib.sha256()
    train_split, test_split = (
        _split(path, found, labels, digest) for path, found in ((train, train_found), (test, test_found))
    )
    return Dataset(name, train_split, test_split, len(labels), digest.hexdigest()[:16])


def _split(folder: Path, found: dict[str, Found], labels: dict[str, int], digest: "hashlib._Hash") -> StreamedSplit:
    """One split; its paths, sizes and labels go into ``digest``: hashing the files would take hours."""
    listed = [(path, size, labels[class_name]) for class_name in sorted(found) for path, size in found[class_name]]
    digest.update(repr([(os.fsencode(path), size, label) for path, size, label in listed]).encode())
    files = Files.of(folder, [path for path, _, _ in listed], [label for _, _, label in listed])
    return StreamedSplit(
        files,
        torch.tensor(MEAN) * 255,
        torch.tensor(STD) * 255,
        workers=workers_from_environment(),
        kept_in=folder_from_environment(),
    )


def _classes(split: Path) -> dict[str, Found]:
    """The images of each class, by its name: those in its folder, at any depth, unless a name begins with a dot."""
    if not split.is_dir():
        raise DataError(
            f"no {split}: a folder of images needs train/CLASS/* and one of {', '.join(TEST_SPLITS)} beside it"
        )
    folders = [entry for entry in os.scandir(split) if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise DataError(
            f"{split} has no class folders: move each image into {split}/CLASS, with the class names of train; "
            "for ImageNet's val, torchvision.datasets.ImageNet(folder, split='val') does it from the archives"
        )
    return {folder.name: _images(split, folder.name) for folder in folders}


def _images(split: Path, class_name: str) -> Found:
    found = []
    for base, _, names in os.walk(split / class_name, followlinks=True):
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = os.path.join(base, name)  # noqa: PTH118  # pathlib is slow for a million files
                try:
                    found.append((os.path.relpath(path, split), os.path.getsize(path)))  # noqa: PTH202
                except OSError as error:
                    raise DataError(f"{path} cannot be read: {error.strerror}; mend or remove it") from error
    return sorted(found)
