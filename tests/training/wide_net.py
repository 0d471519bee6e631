"""A network of which so little is kept that one of its layers is trained sparse."""

import torch
from torch import nn

from autosparse.masks import Masks


def wide() -> nn.Module:
    """A network whose first layer keeps 3 % of its weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1300), nn.ReLU(), nn.Linear(1300, 10))


def masks_of_wide() -> Masks:
    """The masks of :func:`wide`."""
    kept = torch.rand(1300, 64, generator=torch.Generator().manual_seed(0)) < 0.03
    return Masks({"1.weight": kept, "3.weight": torch.ones(10, 1300)})
