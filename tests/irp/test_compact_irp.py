"""IRP by compact networks counts what it counts by whole ones."""

import pytest
import torch
from torch import nn

from autosparse.irp import rewind_prune
from autosparse.models import build_model
from autosparse.training import Execution, Recipe


class Double(nn.Module):
    """LeNet-300-100 in float64, so that rounding decides no rank."""

    def __init__(self):
        super().__init__()
        self.inner = build_model("lenet-300-100", 10, (1, 8, 8)).double()

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
