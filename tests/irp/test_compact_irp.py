"""IRP with compact networks counts the same survival as with whole ones."""

import pytest
import torch
from torch import nn

from autosparse.irp import rewind_prune
from autosparse.models import build_model
from autosparse.training import Execution, Recipe


class Double(nn.Module):
    """A network in float64, so that rounding decides no rank."""

    def __init__(self, inner=None):
        super().__init__()
        self.inner = (inner or build_model("lenet-300-100", 10, (1, 8, 8))).double()

    def forward(self, x):
        return self.inner(x.double())


@pytest.mark.parametrize("criterion", ["snip", "magnitude"])
def test_survival_and_accuracies_are_the_same_either_way(tiny_digits, criterion):
    recipe = Recipe(epochs=2, batch_size=64, weight_decay=1e-2)
    found = []
    for compact in ("off", "on"):
        model, execution = Double(), Execution(compact=compact)
        survival = rewind_prune(model, tiny_digits, criterion, 6, 0.01, recipe=recipe, execution=execution)
        found.append((survival.survived, survival.provenance["accuracy"]))
    (whole, accuracies), (compact_survived, compact_accuracies) = found
    assert accuracies == compact_accuracies
    assert all(torch.equal(count, compact_survived[name]) for name, count in whole.items())


class Normed(nn.Module):
    """Two hidden layers with BatchNorm, whose running statistics affect second derivatives."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(64, 24), nn.Linear(24, 16), nn.Linear(16, 10)
        self.norms = nn.ModuleList([nn.BatchNorm1d(24), nn.BatchNorm1d(16)])

    def forward(self, x):
        x = self.norms[0](self.first(x.flatten(1))).relu()
        return self.head(self.norms[1](self.second(x)).relu())


@pytest.mark.parametrize("criterion", ["grasp", "snip"])
def test_batchnorm_channels_that_nothing_reads_change_no_count(tiny_digits, criterion):
    recipe, found = Recipe(epochs=8, batch_size=32, lr=0.01), []
    for compact in ("off", "on"):
        execution = Execution(compact=compact)
        survival = rewind_prune(
            Double(Normed()), tiny_digits, criterion, 10, 0.02, recipe=recipe, execution=execution, mode="eval"
        )
        found.append(survival.survived)
    whole, compact_survived = found
    assert all(torch.equal(count, compact_survived[name]) for name, count in whole.items())
