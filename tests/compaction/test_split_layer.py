"""A Linear layer that computes constants once, beside the Linear layer on whole rows."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autosparse.compaction.split import SplitLinear


@pytest.mark.parametrize("constants", [0, 3])
@pytest.mark.parametrize("rows", [4, 7])
def test_outputs_and_gradients_are_those_of_one_product(constants, rows):
    draws = torch.Generator().manual_seed(0)
    layer = nn.Linear(6 + constants, 7).double()
    layer.weight.data[rows:, :6] = 0  # the last rows read constants alone
    x = torch.randn(5, 6, dtype=torch.float64, generator=draws, requires_grad=True)
    still = torch.randn(1, constants, dtype=torch.float64, generator=draws, requires_grad=True)
    upstream = torch.randn(5, 7, dtype=torch.float64, generator=draws)
    whole = F.linear(torch.cat([x, still.expand(5, -1)], 1), layer.weight, layer.bias)
    expected = torch.autograd.grad((whole * upstream).sum(), [x, still, *layer.parameters()])

    live, rest = SplitLinear(layer, (rows, 6))(x, still if constants else None)
    found = torch.cat([live, rest.expand(5, -1)], 1)
    torch.testing.assert_close(found, whole)
    given = [x, still, *layer.parameters()] if constants else [x, *layer.parameters()]
    gradients = list(torch.autograd.grad((found * upstream).sum(), given))
    if not constants:
        gradients.insert(1, torch.zeros_like(still))
    for name, gradient, other in zip(("x", "still", "weight", "bias"), gradients, expected, strict=True):
        kept = torch.ones_like(other)
        if name == "weight":
            kept[rows:, :6] = 0  # pruned: not computed
        torch.testing.assert_close(gradient, other * kept, msg=name)
