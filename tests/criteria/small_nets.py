"""Small networks of every kind that criteria must handle, in float64 so that references can be tight."""

import copy
from itertools import cycle, islice

import torch
import torch.nn.functional as F
from torch import nn

from autosparse.masks import prunable


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


class PlainTraining:
    """Training as iterative references ask for it: two epochs of two plain SGD steps, in the run's own order."""

    epochs, steps = 2, 4

    def __init__(self):
        self.runs, self.then = [], None

    def __call__(self, model, masks, run=None, start=0, stop=None):
        self.runs.append((run, start, stop))
        for x, y in islice(cycle(data(seed=5 if run is None else 10 + run)), start, stop or self.steps):
            sgd_step(model, masks, x, y)

    def go_on(self, start):
        self.then = ("go on", start)

    def fine_tune(self, epochs):
        self.then = ("fine-tune", epochs)

    def change_masks(self, change):
        self.then = ("change masks", change)


def sgd_step(model, masks, x, y, lr=0.3):
    """One step of SGD written out, with what ``masks`` prune (if given) set to 0."""
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(parameters.values()))
    with torch.no_grad():
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            parameter -= lr * gradient
            if masks is not None and name in masks:
                parameter *= masks[name]


def highest(saliency, masks, sparsity):
    """The masks by a stable sort: the highest among what ``masks`` keep stay, to ``sparsity`` over the network."""
    flat = torch.cat([saliency[name].flatten() for name in masks])
    flat[~torch.cat([mask.flatten() for mask in masks.values()])] = -1
    alive = torch.zeros_like(flat, dtype=torch.bool)
    alive[flat.argsort(descending=True, stable=True)[: len(flat) - round(len(flat) * sparsity)]] = True
    pieces = alive.split([mask.numel() for mask in masks.values()])
    return {name: piece.view_as(mask) for (name, mask), piece in zip(masks.items(), pieces, strict=True)}


def loss_after_training(model, batches, steps, lr, momentum):
    """Train by torch's own optimiser and return the loss on the next batch."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    for x, y in batches[:steps]:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    x, y = batches[steps]
    return F.cross_entropy(model(x), y).item()


def saliency_after_training(model, batches, **settings):
    """ProsPr's scores by finite differences: how the loss after training moves with each weight."""
    step, found = 1e-5, {}
    for name, weight in prunable(model).items():
        found[name] = torch.zeros_like(weight)
        for index in range(weight.numel()):
            original = weight.data.view(-1)[index].item()
            losses = []
            for sign in (1, -1):
                weight.data.view(-1)[index] = original * (1 + sign * step)
                losses.append(loss_after_training(model, batches, **settings))
            weight.data.view(-1)[index] = original
            found[name].view(-1)[index] = abs(losses[0] - losses[1]) / (2 * step)
    total = sum(saliency.sum() for saliency in found.values())
    return {name: saliency / total for name, saliency in found.items()}
