"""Tiny ImageNet (Stanford CS231n): 200 classes of ImageNet at 64x64, decoded once and kept as one tensor."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autosparse.data import register_dataset
from autosparse.data.decode import decode
from autosparse.data.split import Dataset, make_dataset
from autosparse.errors import DataError

FOLDER, SIDE = "tiny-imagenet-200", 64
Examples = tuple[list[Path], list[int]]
"""Image files and their labels."""


@register_dataset("tiny-imagenet", locate=lambda root, _: _lines(root / FOLDER / "wnids.txt"))
def tiny_imagenet(root: Path, argument: str, download: bool) -> Dataset:
    """Tiny ImageNet, 100,000 + 10,000 colour 64x64 images of 200 classes, from tiny-imagenet-200 under the data root.

    The label of a class is the place of its WordNet id among the sorted ids of ``wnids.txt``; the test split is
    ``val``, since the labels of ``test`` are not published.
    """
    folder = root / FOLDER
    classes = {wnid: label for label, wnid in enumerate(sorted(_lines(folder / "wnids.txt")))}
    train, test = _train_examples(folder, classes), _val_examples(folder, classes)
    return make_dataset("tiny-imagenet", _read(*train), _read(*test), len(classes))


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(
            f"no {path}: unpack tiny-imagenet-200.zip, and point --data-root or AUTOSPARSE_DATA "
            f"at the folder that holds {FOLDER}"
        )
    return path.read_text().splitlines()


def _train_examples(folder: Path, classes: dict[str, int]) -> Examples:
    paths, labels = [], []
    for wnid, label in classes.items():
        images = folder / "train" / wnid / "images"
        found = sorted(images.glob("*.JPEG"))
        if not found:
            raise DataError(f"{images} holds no *.JPEG, but wnids.txt names {wnid}; unpack tiny-imagenet-200.zip again")
        paths += found
        labels += [label] * len(found)
    return paths, labels


def _val_examples(folder: Path, classes: dict[str, int]) -> Examples:
    """The images of ``val`` by name; each needs a line ``name <tab> wnid <tab> box``, and each line an image."""
    annotations = folder / "val" / "val_annotations.txt"
    labels = {}
    for number, line in enumerate(_lines(annotations), 1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in classes:
            raise DataError(f"{annotations}, line {number}: {wnid!r} is not one of the classes in wnids.txt")
        labels[name] = classes[wnid]
    images = folder / "val" / "images"
    found = {path.name for path in images.glob("*.JPEG")}
    if found != labels.keys():
        name = min(found ^ labels.keys())
        problem = f"has no line in {annotations}" if name in found else f"is missing, but {annotations} has its label"
        raise DataError(f"{images / name} {problem}; unpack tiny-imagenet-200.zip again")
    return [images / name for name in sorted(labels)], [labels[name] for name in sorted(labels)]


def _read(paths: list[Path], labels: list[int]) -> tuple[Tensor, Tensor]:
    """Decode into one tensor of bytes, in threads: the codec releases Python's lock."""
    images = np.empty((len(paths), 3, SIDE, SIDE), np.uint8)

    def put(index: int) -> None:
        image = decode(paths[index], paths[index]).convert("RGB")
        if image.size != (SIDE, SIDE):
            raise DataError(f"{paths[index]} is {image.width}x{image.height}, not {SIDE}x{SIDE}: not Tiny ImageNet")
        images[index] = np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(put, range(len(paths))):
            pass
    return torch.from_numpy(images), torch.tensor(labels)
