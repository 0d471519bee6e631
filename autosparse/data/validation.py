"""Validation images: a part of the training split, so that choices are made without the test split."""

from dataclasses import replace

import torch

from autosparse.data.split import Dataset, Split
from autosparse.devices import sent
from autosparse.errors import DataError
from autosparse.seeds import generator


def with_validation(dataset: Dataset, share: float, seed: int) -> Dataset:
    """The data set with ``share`` of its training images, drawn at random, in place of its test split.

    They are no longer among the training images. Normalisation stays as it is.

    :raises DataError: if the data set is streamed from files, or too small.
    """
    train = dataset.train
    if not isinstance(train, Split):
        raise DataError(f"dataset {dataset.name!r} is streamed from files, and validation images need it in memory")
    count = round(len(train) * share)
    if not 1 <= count < len(train):
        raise DataError(f"dataset {dataset.name!r} has {len(train)} training images, too few to set {share:.0%} aside")
    order = sent(torch.randperm(len(train), generator=generator(seed, "validation")), train.device)
    held_out, kept = order[:count], order[count:]

    def part(chosen: torch.Tensor) -> Split:
        return replace(train, images=train.images[chosen], labels=train.labels[chosen])

    return replace(dataset, train=part(kept), test=part(held_out))
