"""Small networks of every kind that criteria must handle, in float64 so that references can be tight."""

import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.inner = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        return self.head((x + self.inner(x)).relu().mean((2, 3)))


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 7), nn.Tanh(), nn.Linear(7, 4))


def conv():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))


NETS = {"linear": linear, "conv": conv, "residual with batchnorm": Residual}


def make(name, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NETS[name]().double()


def data(batches=4, size=12, seed=1):
    draws = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(size, 1, 4, 4, generator=draws, dtype=torch.float64),
            torch.randint(0, 4, (size,), generator=draws),
        )
        for _ in range(batches)
    ]
