"""Validation images: a part of the training split, so that choices are made without the test split."""

from dataclasses import replace

import torch

from autosparse.data.split import Dataset
from autosparse.errors import DataError
from autosparse.seeds import generator

HELD_OUT = 1 / 12
"""The usual share of the training images that choices are made on: 5,000 of MNIST's."""


def with_validation(dataset: Dataset, share: float, seed: int) -> Dataset:
    """The data set with ``share`` of its training images, drawn at random, in place of its test split.

    They are no longer among the training images. Normalisation stays as it is.

    :raises DataError: if the data set is too small.
    """
    train = dataset.train
    count = round(len(train) * share)
    if not 1 <= count < len(train):
        raise DataError(f"dataset {dataset.name!r} has {len(train)} training images, too few to set {share:.0%} aside")
    order = torch.randperm(len(train), generator=generator(seed, "validation"))
    return replace(dataset, train=train.picked(order[count:]), test=train.picked(order[:count]))
