"""Narrow networks with every way in which channels are joined, and masks that cut them at random."""

import copy

import torch
from torch import nn

from autosparse.masks import Masks
from autosparse.weights import prunable


class Units(nn.Sequential):
    """Linear layers, one of them without a bias."""

    def __init__(self):
        super().__init__(
            nn.Flatten(), nn.Linear(192, 9, bias=False), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)
        )


class Residual(nn.Module):
    """An identity as shortcut, then a 1x1 convolution; a flatten over 2 x 2 places."""

    def __init__(self, normed=True):
        super().__init__()
        norm = nn.BatchNorm2d if normed else lambda width: nn.Identity()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), norm(6)
        self.inner, self.inner_norm = nn.Conv2d(6, 5, 3, padding=1, bias=False), norm(5)
        self.back = nn.Conv2d(5, 6, 3, padding=1, bias=False)
        self.down, self.shortcut = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Conv2d(6, 8, 1, stride=2, bias=False)
        self.hidden, self.hidden_norm = nn.Linear(32, 7), nn.BatchNorm1d(7)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = x - self.back(self.inner_norm(self.inner(x)).relu())
        x += x * 0.5
        x = torch.relu(self.down(x) + self.shortcut(x))
        x = self.hidden(torch.flatten(nn.functional.max_pool2d(x, 2), 1))
        return self.head(self.hidden_norm(x).sigmoid())


class Bare(Residual):
    """A residual network without BatchNorm, so that a sum's branches can hold different channels."""

    def __init__(self):
        super().__init__(normed=False)


class Grouped(nn.Module):
    """A depthwise convolution gated by squeeze and excitation, then two groups, then four."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.deep, self.norm = nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(16)
        self.squeeze, self.excite = nn.Conv2d(16, 3, 1), nn.Conv2d(3, 16, 1)
        self.pair, self.four = nn.Conv2d(16, 12, 3, groups=2), nn.Conv2d(12, 8, 1, groups=4, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = nn.functional.relu6(self.norm(self.deep(self.stem(x))))
        x = x * self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        x = self.four(self.pair(x).relu()) + 0.25
        return nn.functional.log_softmax(self.head(x.mean(dim=[-1, -2])), dim=1)


class Dense(nn.Module):
    """Concatenations, a view by the batch size, a parameter of its own, and an operation that nobody knows."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.full((5, 1, 1), 0.1))
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1, bias=False)
        self.norm, self.pool = nn.BatchNorm2d(12), nn.AdaptiveAvgPool2d(2)
        self.mixed, self.head = nn.Linear(48, 6, bias=False), nn.Linear(6, 4)

    def forward(self, x):
        y = torch.cat([x, (self.first(x) + self.shift).relu()], 1)
        y = torch.cat((y, self.second(y)), dim=1)
        y = self.pool(self.norm(y).relu())
        y = self.mixed(y.view(y.size(0), -1))
        return self.head(y.cumsum(1))


NETS = {kind.__name__.lower(): kind for kind in (Units, Residual, Bare, Grouped, Dense)}


def made(name, seed=0):
    """Every parameter and statistic drawn at random, so that no bias and no normalisation is neutral."""
    model, draws = NETS[name](), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.normal_(0, 0.5, generator=draws)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(generator=draws)
                module.running_var.uniform_(0.5, 2.0, generator=draws)
    return model


def cut(model, sparsity, seed=0):
    """Masks that prune at random."""
    draws = torch.Generator().manual_seed(seed)
    return Masks.from_scores({n: torch.rand(w.shape, generator=draws) for n, w in prunable(model).items()}, sparsity)


def images(count=6, side=8, seed=1, dtype=torch.float32):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def twins(model, small, masks, training, x):
    """The outputs of the masked and of the compact network."""
    full = masks.apply_(copy.deepcopy(model)).train(training)
    return full(x), copy.deepcopy(small.network).train(training)(x)
