"""Networks for cells that are killed, named in experiments as ``tests.runner.killed_nets:NAME``."""

import os
import signal
from pathlib import Path

import torch
from torch import Tensor, nn

from autosparse.seeds import generator


class Block(nn.Module):
    """A residual block between convolutions, with BatchNorm and dropout."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.one, self.one_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.two_norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x)).relu()
        x = (x + self.two_norm(self.two(self.one_norm(self.one(x)).relu()))).relu()
        return self.head(x.mean((2, 3)))


class Wave(nn.Sequential):
    """Has a buffer that no safetensors file can hold."""

    def __init__(self, num_classes: int):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))
        self.register_buffer("wave", torch.zeros(2, dtype=torch.complex128))


def _drawn(model: nn.Module) -> nn.Module:
    draws = generator("killed nets")
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.uniform_(-0.3, 0.3, generator=draws)
    return model


def block(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """A small residual network."""
    return _drawn(Block(num_classes))


def wave(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """A linear network that cannot be kept."""
    return _drawn(Wave(num_classes))


DIES_AT = 15
"""The batch of the training at which the process of a :class:`Deadly` network dies."""


def mark() -> Path:
    """The file that says that a :class:`Deadly` network has killed its process."""
    return Path(os.environ["AUTOSPARSE_CACHE"]) / "killed-once"


class Deadly(nn.Sequential):
    """Kills its process in its training, unless :func:`mark` says that this has happened before."""

    def __init__(self, num_classes: int):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))
        self.batches = 0

    def forward(self, x: Tensor) -> Tensor:
        self.batches += self.training
        if self.batches == DIES_AT and not mark().exists():
            mark().touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def deadly(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """A linear network that kills its process once."""
    return _drawn(Deadly(num_classes))


def wide(num_classes, input_shape):
    """A network whose first layer is large enough to be computed sparse."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2000), nn.ReLU(), nn.Linear(2000, num_classes))
