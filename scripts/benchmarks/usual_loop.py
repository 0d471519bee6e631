"""The loop that most published pruning code trains with, written plainly: the baseline of the speed claims.

As the papers' descriptions have it: one network at a time, images transformed one by one by the workers of a loader,
float32, channels first, the optimiser as it comes. With the strongest ordinary settings: as many workers as cores, kept
alive between epochs, pinned memory on a GPU, copies that do not wait.
"""

import os

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from autosparse.data.split import Split


class Images(Dataset):
    """A split as a data set of single images, each transformed when it is asked for."""

    def __init__(self, split: Split, augmented: bool):
        self.images = split.images.cpu().permute(0, 2, 3, 1).numpy().copy()
        self.labels = split.labels.tolist()
        flips = [transforms.RandomCrop(split.input_shape[1], padding=4), transforms.RandomHorizontalFlip()]
        mean, std = (split.mean.cpu() / 255).tolist(), (split.std.cpu() / 255).tolist()
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                *(flips if augmented else []),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def loader(split: Split, batch_size: int, augmented: bool, device: torch.device) -> DataLoader:
    """The strongest ordinary settings."""
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
    """One epoch; the masks are multiplied onto the weights after each step. Returns the mean loss."""
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
