"""A data set, and its splits: tensors on one device, from which batches are cut there."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from autosparse.data.augment import augment
from autosparse.data.passes import Batch, Pass
from autosparse.devices import sent
from autosparse.errors import DataError
from autosparse.notebook import by_x, shown

__all__ = ["Batch", "Dataset", "Examples", "Split", "channel_statistics", "fitting_batch", "make_dataset", "normalise"]


class Examples(Protocol):
    """The interface that training, criteria and IRP use; :class:`Split` and ``StreamedSplit`` implement it."""

    @property
    def device(self) -> torch.device:
        """Where the batches are."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width)."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> "Examples":
        """The same split with its batches on another device."""

    def picked(self, chosen: Tensor) -> "Examples":
        """The examples at some positions, int64 (count,), in that order; the normalisation stays."""

    def batches(
        self,
        batch_size: int,
        shuffle: torch.Generator | None = None,
        augmentation: str = "none",
        limit: int | None = None,
    ) -> Iterator[Batch]:
        """Cut one pass over the split into batches.

        This package's splits return batches that can be iterated repeatedly.

        :param shuffle: generator of the order (and of the augmentation); None keeps the stored order.
        :param augmentation: a name known to :func:`autosparse.data.augment.augment`.
        :param limit: stop after this many examples.
        """


@dataclass(frozen=True)
class Split:
    """Images as uint8 (n, channels, height, width), labels as int64 (n,), with their normalisation.

    ``mean`` and ``std`` are per channel, in the units of the stored bytes.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def __post_init__(self) -> None:
        if len(self.images) == 0 or len(self.images) != len(self.labels):
            raise DataError(
                f"a split needs one label per image, at least one; got {len(self.images)} images and "
                f"{len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self):,} images of {by_x(self.input_shape)}, on {self.device})"

    def _repr_html_(self) -> str:
        classes, counts = self.labels.unique(return_counts=True)
        return shown(self, ("label", "images"), zip(classes.tolist(), counts.tolist(), strict=True))

    @property
    def device(self) -> torch.device:
        """Where the tensors and the batches are."""
        return self.images.device

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width)."""
        return tuple(self.images.shape[1:])

    def to(self, device: torch.device | str) -> "Split":
        """The same split on another device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )

    def picked(self, chosen: Tensor) -> "Split":
        """See :meth:`Examples.picked`."""
        chosen = sent(chosen, self.device)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 images -> float32, zero mean and unit variance per channel."""
        return normalise(images, self.mean, self.std)

    def batches(
        self,
        batch_size: int,
        shuffle: torch.Generator | None = None,
        augmentation: str = "none",
        limit: int | None = None,
    ) -> Pass:
        """See :meth:`Examples.batches`; no work per image, no copy to the host."""
        count = len(self) if limit is None else min(limit, len(self))
        cut = partial(self._cut, count, batch_size, augmentation)
        return Pass(cut, shuffle, math.ceil(count / batch_size))

    def _cut(self, count: int, batch_size: int, augmentation: str, shuffle: torch.Generator | None) -> Iterator[Batch]:
        order = None if shuffle is None else sent(torch.randperm(len(self), generator=shuffle), self.device)
        for start in range(0, count, batch_size):
            chosen = slice(start, min(start + batch_size, count))
            if order is None:
                images, labels = self.images[chosen], self.labels[chosen]
            else:
                images, labels = self._picked(order[chosen])
            yield augment(self.normalised(images), augmentation, shuffle), labels

    def stacked_batches(
        self, batch_size: int, shuffles: Sequence[torch.Generator], augmentation: str = "none"
    ) -> Iterator[Batch]:
        """The :meth:`batches` of several generators, joined member by member.

        Images (members * batch, channels, height, width) and labels (members, batch).
        """
        orders = sent(torch.stack([torch.randperm(len(self), generator=shuffle) for shuffle in shuffles]), self.device)
        for chosen in orders.split(batch_size, dim=1):
            images, labels = self._picked(chosen.flatten())
            images = augment(self.normalised(images), augmentation, shuffles)
            yield images, labels.view(chosen.shape)

    def _picked(self, chosen: Tensor) -> Batch:
        """Images and labels at positions; gathering the bytes row by row is three times as fast as an index."""
        images = self.images.flatten(1).index_select(0, chosen).view(-1, *self.input_shape)
        return images, self.labels.index_select(0, chosen)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images (batch, channels, height, width) -> float32, less ``mean`` and divided by ``std`` of each channel.

    The images may be of any type, and stay as they are.
    """
    return images.to(torch.float32, copy=True).sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


@dataclass(frozen=True)
class Dataset:
    """A train and a test split, with what a model must know about them."""

    name: str
    train: Examples
    test: Examples
    num_classes: int
    fingerprint: str
    """16 hex digits over every image and label (of a stream: over every path, file size and label), for provenance."""

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self.train):,} train and {len(self.test):,} test images of "
            f"{by_x(self.input_shape)}, {self.num_classes} classes, fingerprint {self.fingerprint})"
        )

    def _repr_html_(self) -> str:
        splits = (("train", self.train), ("test", self.test))
        rows = [(name, len(split), by_x(split.input_shape), split.device) for name, split in splits]
        return shown(self, ("split", "images", "shape", "device"), rows)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width)."""
        return self.train.input_shape

    def scoring_batches(self, draws: torch.Generator, limit: int | None) -> Iterator[Batch]:
        """The batches that criteria see: ``limit`` train examples in a random order, not augmented.

        A batch has 512, or fewer if images are larger than 64x64, so that their gradients fit on a device.
        """
        return self.train.batches(fitting_batch(512, self.input_shape), draws, limit=limit)

    def to(self, device: torch.device | str) -> "Dataset":
        """The same data set on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def fitting_batch(most: int, input_shape: tuple[int, ...]) -> int:
    """The examples of a batch: ``most``, or fewer in proportion if they are larger than 3 x 64 x 64; at least 1."""
    return max(1, min(most, most * 3 * 64 * 64 // math.prod(input_shape)))


def make_dataset(
    name: str, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], num_classes: int | None = None
) -> Dataset:
    """Assemble a data set from (uint8 images, labels) pairs; both splits are normalised by the train split.

    :param num_classes: None: one more than the highest label.
    """
    mean, std = channel_statistics(train[0])
    splits = Split(*train, mean, std), Split(*test, mean, std)
    num_classes = num_classes or int(max(train[1].max(), test[1].max())) + 1
    digest = hashlib.sha256()
    for tensor in (*train, *test):
        digest.update(tensor.contiguous().numpy().data)
    return Dataset(name, *splits, num_classes, digest.hexdigest()[:16])


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of uint8 images, exact and without a float copy of the set.

    A channel that never varies gets a standard deviation of 1.
    """
    levels = torch.arange(256, dtype=torch.float64)
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].flatten().cpu(), minlength=256).double()
        share = counts / counts.sum()
        mean = (share * levels).sum()
        std = (share * (levels - mean) ** 2).sum().sqrt()
        means.append(mean)
        stds.append(std if std > 0 else torch.ones_like(std))
    return torch.stack(means).float(), torch.stack(stds).float()
