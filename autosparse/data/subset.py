"""A part of another data set, for trials on small machines."""

import re
from pathlib import Path

import torch
from torch import Tensor

from autosparse.data import check_dataset_name, load_dataset, missing_data, register_dataset
from autosparse.data.split import Dataset, Examples, Split, make_dataset
from autosparse.errors import DataError
from autosparse.seeds import generator

WRITTEN = re.compile(r"(?P<train>[1-9]\d*)(,(?P<test>[1-9]\d*))?:(?P<name>.+)", re.DOTALL)


def _parsed(argument: str) -> tuple[int, int | None, str]:
    """The numbers of training and test images, and the name of the data set."""
    found = WRITTEN.fullmatch(argument)
    if not found:
        raise DataError(f"dataset 'subset:{argument}': write subset:10000:cifar10, or subset:10000,2000:cifar10")
    return int(found["train"]), int(found["test"]) if found["test"] else None, found["name"]


def _check(argument: str) -> None:
    check_dataset_name(_parsed(argument)[2])


def _locate(root: Path, argument: str) -> None:
    if reason := missing_data(_parsed(argument)[2], root):
        raise DataError(reason)


@register_dataset("subset", argument="TRAIN[,TEST]:NAME", check=_check, locate=_locate)
def subset(root: Path, argument: str, download: bool) -> Dataset:
    """subset:TRAIN[,TEST]:NAME, TRAIN training and TEST test images of another data set.

    They are drawn at random, the same each time. Without TEST, all test images are taken. Both splits are normalised by
    the training images drawn.
    """
    train, test, name = _parsed(argument)
    whole = load_dataset(name, root, download=download)
    parts = [_drawn(whole.train, train, name, "train"), _drawn(whole.test, test, name, "test")]
    return make_dataset(f"subset:{argument}", parts[0], parts[1], whole.num_classes)


def _drawn(split: Examples, count: int | None, name: str, which: str) -> tuple[Tensor, Tensor]:
    if not isinstance(split, Split):
        raise DataError(f"dataset {name!r} is streamed from files: subset takes one that is held in memory")
    if count is not None and count > len(split):
        raise DataError(f"dataset {name!r} has {len(split)} {which} images, and subset asks for {count}")
    chosen = torch.randperm(len(split), generator=generator(0, "subset", which))[:count]
    return split.images[chosen], split.labels[chosen]
