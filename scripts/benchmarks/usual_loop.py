"""The loop that most published pruning code trains with, written plainly: the baseline of the speed claims.

It is what the papers describe: one network at a time, images transformed one by one by the workers of a loader,
float32, channels first, the optimiser as it comes. Its settings are the strongest ordinary ones: as many workers as
cores, kept alive between epochs, pinned memory on a GPU, copies that do not wait. If torchvision is absent, its
transforms are replaced by the same arithmetic on tensors, which is a little faster; ``TRANSFORMS`` says which it is.
"""

import importlib.util
import itertools
import os
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from autosparse.data.split import Dataset, Split
from autosparse.training import Recipe

TRANSFORMS = "torchvision" if importlib.util.find_spec("torchvision") else "tensors"
"""The library whose transforms the images go through."""


class Images(TorchDataset):
    """A split as a data set of single images, each transformed when it is asked for."""

    def __init__(self, split: Split, augmented: bool):
        self.images = split.images.cpu().permute(0, 2, 3, 1).numpy().copy()
        self.labels = split.labels.tolist()
        mean, std = (split.mean.cpu() / 255).tolist(), (split.std.cpu() / 255).tolist()
        chosen = torchvision_transform if TRANSFORMS == "torchvision" else tensor_transform
        self.transform = chosen(mean, std, split.input_shape[1], augmented)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def torchvision_transform(
    mean: list[float], std: list[float], side: int, augmented: bool
) -> Callable[[np.ndarray], torch.Tensor]:
    """Turns uint8 (height, width, channels) into a normalised tensor, by way of a PIL image."""
    from torchvision import transforms

    flips = [transforms.RandomCrop(side, padding=4), transforms.RandomHorizontalFlip()] if augmented else []
    return transforms.Compose([transforms.ToPILImage(), *flips, transforms.ToTensor(), transforms.Normalize(mean, std)])


def tensor_transform(
    mean: list[float], std: list[float], side: int, augmented: bool
) -> Callable[[np.ndarray], torch.Tensor]:
    """Does the same without torchvision."""
    shift, scale = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    def transform(image: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        if augmented:
            top, left, flip = (int(torch.randint(most, ())) for most in (9, 9, 2))
            x = F.pad(x, (4, 4, 4, 4))[:, top : top + side, left : left + side]
            x = x.flip(2) if flip else x
        return (x - shift) / scale

    return transform


def usual_epochs(
    model: nn.Module, masks: Mapping[str, torch.Tensor] | None, data: Dataset, recipe: Recipe, device: torch.device
) -> Iterator[float]:
    """Train one epoch for each ``next``; yield its mean loss."""
    optimizer = optimizer_of(model, recipe)
    batches = loader(data.train, recipe.batch_size, recipe.augmentation == "crop-flip", device)
    factors = {name: mask.float() for name, mask in (masks or {}).items()}
    for epoch in itertools.count(1):
        optimizer.param_groups[0]["lr"] = recipe.lr_in(epoch)
        yield train_epoch(model, batches, optimizer, factors, device)


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser as PyTorch makes it: not fused."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    momentum = recipe.momentum if recipe.optimizer == "momentum" else 0.0
    return torch.optim.SGD(model.parameters(), recipe.lr, momentum=momentum, weight_decay=recipe.weight_decay)


def loader(split: Split, batch_size: int, augmented: bool, device: torch.device) -> DataLoader:
    """A loader with the strongest ordinary settings."""
    return DataLoader(
        Images(split, augmented),
        batch_size,
        shuffle=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )


def train_epoch(
    model: nn.Module,
    batches: DataLoader,
    optimizer: torch.optim.Optimizer,
    masks: dict[str, torch.Tensor],
    device: torch.device,
) -> float:
    """Train one epoch, multiply the masks onto the weights after each step, and return the mean loss."""
    model.train()
    weights = dict(model.named_parameters())
    total = 0.0
    for x, y in batches:
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for name, mask in masks.items():
                weights[name].mul_(mask)
        total += loss.item() * len(y)
    return total / len(batches.dataset)
