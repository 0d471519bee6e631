"""The networks and the small data sets on which a GPU is held against the CPU."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import autosparse as asp
from autosparse.data.split import Dataset, make_dataset
from autosparse.irp import Survival
from autosparse.seeds import generator

Arrays = tuple[str, tuple[np.ndarray, ...], int]
"""A data set as another process can be given it: name, images and labels of both splits, number of classes."""


@dataclass(frozen=True)
class Subject:
    """A network on data."""

    model: str
    data: Dataset
    bits: int
    """To how many bits of mantissa the weights are rounded to see what a GPU's arithmetic may do to a mask: 10 for
    convolutions, which are computed in TF32; 20 for sums of float32 in another order."""

    def network(self, device: torch.device, seed: int = 0) -> nn.Module:
        """At initialisation."""
        return asp.build_model(self.model, self.data.num_classes, self.data.input_shape, seed).to(device)

    @property
    def name(self) -> str:
        """Network and data."""
        return f"{self.model}/{self.data.name}"


def subjects(root: str | None, train: int, test: int) -> list[Subject]:
    """LeNet-300-100 on MNIST where that is under ``root``, else on the digits; ResNet-20 on the digits, so that the CPU
    keeps up.

    :param train, test: at most so many images.
    """
    digits = asp.load_dataset("digits")
    grey = asp.load_dataset("mnist", root) if root and (Path(root) / "MNIST").is_dir() else digits
    return [
        Subject("lenet-300-100", few(grey, train, test), bits=20),
        Subject("resnet20", few(digits, train, test), bits=10),
    ]


def few(data: Dataset, train: int, test: int) -> Dataset:
    """The first images of both splits, normalised by these."""
    parts = ((data.train, train), (data.test, test))
    images, tests = ((split.images[:count], split.labels[:count]) for split, count in parts)
    return make_dataset(data.name, images, tests, data.num_classes)


def to_arrays(data: Dataset) -> Arrays:
    """For another process."""
    splits = (data.train.images, data.train.labels, data.test.images, data.test.labels)
    return data.name, tuple(tensor.cpu().numpy() for tensor in splits), data.num_classes


def from_arrays(arrays: Arrays) -> Dataset:
    """From another process."""
    name, splits, classes = arrays
    images, labels, test_images, test_labels = map(torch.from_numpy, splits)
    return make_dataset(name, (images, labels), (test_images, test_labels), classes)


def rounded(x: Tensor, bits: int) -> Tensor:
    """float32 numbers to the nearest with so many bits of mantissa."""
    dropped = 23 - bits
    whole = x.contiguous().view(torch.int32)
    return ((whole + (1 << (dropped - 1))) & ~((1 << dropped) - 1)).view(torch.float32)


def made_up_survival(rows: int) -> Survival:
    """Of weights and gradients as large as those of a network: large ones stay longest, with noise."""
    draws = generator(0, "survival")
    theta, g, luck = (torch.randn(rows, generator=draws) for _ in range(3))
    strength = theta.abs() + g.abs() + luck / 2
    counts = (strength.argsort().argsort() * 20 // rows).int()
    return Survival({"w": 0.05 * theta}, {"w": 0.005 * g}, {"w": counts}, {"iterations": 20})
