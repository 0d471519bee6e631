"""The images that the benchmarks train on; noise of the same shape if the real ones are absent."""

from dataclasses import replace
from pathlib import Path

import torch

import autosparse as asp
from autosparse.data.split import Dataset, Split, make_dataset
from autosparse.errors import AutosparseError


def mnist(root: str | None) -> Dataset:
    """MNIST if it is under ``root``, else noise of its shape; with one test image, because only training is timed."""
    if root and (Path(root) / "MNIST").is_dir():
        data = asp.load_dataset("mnist", root)
        return first(data, len(data.train))
    return noise(60_000, 1, (1, 28, 28))


def cifar(root: str | None) -> Dataset:
    """CIFAR-10 if it is under ``root``, else noise of its shape."""
    for name in ("cifar10", "parquet:cifar10-jpeg") if root else ():
        try:
            return asp.load_dataset(name, root)
        except AutosparseError:
            pass
    return noise(50_000, 10_000)


def noise(train: int, test: int, shape: tuple[int, int, int] = (3, 32, 32)) -> Dataset:
    """Images of noise with labels of ten classes."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(256, (train + test, *shape), dtype=torch.uint8, generator=draws)
    labels = torch.randint(10, (train + test,), generator=draws)
    return make_dataset("noise", (images[:train], labels[:train]), (images[train:], labels[train:]), num_classes=10)


def first(data: Dataset, train: int, test: int = 1) -> Dataset:
    """The first images of both splits; by default one test image, because only training is timed."""
    kept = []
    for split, count in ((data.train, train), (data.test, test)):
        assert isinstance(split, Split), "this takes data sets that fit in memory"
        kept.append(replace(split, images=split.images[:count], labels=split.labels[:count]))
    return replace(data, train=kept[0], test=kept[1])
