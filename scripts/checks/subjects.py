"""The networks and the small data sets on which a GPU is compared with the CPU."""

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
"""A data set in a form for another process: name, images and labels of both splits, number of classes."""


@dataclass(frozen=True)
class Subject:
    """A network and its data."""

    model: str
    data: Dataset
    bits: int
    """Bits of mantissa to which weights are rounded to see how a GPU's arithmetic may change a mask: 10 for
    convolutions, which are computed in TF32; 20 for sums of float32 in another order."""

    def network(self, device: torch.device, seed: int = 0) -> nn.Module:
        """The network at initialisation."""
        return asp.build_model(self.model, self.data.num_classes, self.data.input_shape, seed).to(device)

    @property
    def name(self) -> str:
        """Names of the network and its data."""
        return f"{self.model}/{self.data.name}"


def subjects(root: str | None, train: int, test: int) -> list[Subject]:
    """LeNet-300-100 on MNIST if that is under ``root``, else on the digits; ResNet-20 on the digits, so that the CPU
    keeps up.

    :param train, test: most images of each split.
    """
    digits = asp.load_dataset("digits")
    grey = asp.load_dataset("mnist", root) if root and (Path(root) / "MNIST").is_dir() else digits
    return [
        Subject("lenet-300-100", few(grey, train, test), bits=20),
        Subject("resnet20", few(digits, train, test), bits=10),
    ]


def few(data: Dataset, train: int, test: int) -> Dataset:
    """The first images of both splits, normalised with their own statistics."""
    parts = ((data.train, train), (data.test, test))
    images, tests = ((split.images[:count], split.labels[:count]) for split, count in parts)
    return make_dataset(data.name, images, tests, data.num_classes)


def to_arrays(data: Dataset) -> Arrays:
    """The data set in a form for another process."""
    splits = (data.train.images, data.train.labels, data.test.images, data.test.labels)
    return data.name, tuple(tensor.cpu().numpy() for tensor in splits), data.num_classes


def from_arrays(arrays: Arrays) -> Dataset:
    """The data set from another process."""
    name, splits, classes = arrays
    images, labels, test_images, test_labels = map(torch.from_numpy, splits)
    return make_dataset(name, (images, labels), (test_images, test_labels), classes)


def rounded(x: Tensor, bits: int) -> Tensor:
    """float32 numbers, rounded to ``bits`` bits of mantissa."""
    dropped = 23 - bits
    whole = x.contiguous().view(torch.int32)
    return ((whole + (1 << (dropped - 1))) & ~((1 << dropped) - 1)).view(torch.float32)


def made_up_survival(rows: int) -> Survival:
    """A survival dataset with weights and gradients of realistic size; large ones survive longest, with noise."""
    draws = generator(0, "survival")
    theta, g, luck = (torch.randn(rows, generator=draws) for _ in range(3))
    strength = theta.abs() + g.abs() + luck / 2
    counts = (strength.argsort().argsort() * 20 // rows).int()
    return Survival({"w": 0.05 * theta}, {"w": 0.005 * g}, {"w": counts}, {"iterations": 20})
