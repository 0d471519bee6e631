"""Gradients are clipped by the norm over the weights that are not pruned; expected numbers are worked out by hand."""

import pytest
import torch
from torch import nn

from autosparse.masks import Masks
from autosparse.training.clipping import clip_each, clip_gradients
from autosparse.training.execution import at_rates


def a_layer(gradient):
    layer = nn.Linear(len(gradient), 1, bias=False)
    layer.weight.data.zero_()
    layer.weight.grad = torch.tensor([gradient])
    return layer, torch.optim.SGD(layer.parameters(), lr=1.0)


@pytest.mark.parametrize(
    ("kept", "most", "expected"),
    [
        ([1, 1, 1], 6.5, [1.5, 2.0, 6.0]),  # the norm of (3, 4, 12) is 13
        ([1, 1, 0], 2.5, [1.5, 2.0, 6.0]),  # without the 12 it is 5
        ([1, 1, 0], 5.0, [3.0, 4.0, 12.0]),
        ([1, 1, 1], 20.0, [3.0, 4.0, 12.0]),
    ],
)
def test_the_norm_leaves_out_what_is_pruned(kept, most, expected):
    layer, optimizer = a_layer([3.0, 4.0, 12.0])
    masks = Masks({"weight": torch.tensor([kept])})
    clip_gradients(layer, optimizer, most, lambda: masks)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), -torch.tensor([expected]))


def test_masks_that_change_are_those_of_the_step():
    layer, optimizer = a_layer([3.0, 4.0, 12.0])
    now = [Masks({"weight": torch.tensor([[1, 1, 0]])})]
    clip_gradients(layer, optimizer, 2.5, lambda: now[0])
    optimizer.step()
    now[0], layer.weight.grad = Masks({"weight": torch.ones(1, 3)}), torch.tensor([[3.0, 4.0, 12.0]])
    optimizer.step()
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[3.0, 4.0, 12.0]]) * 2.5 / 13)


def test_each_stacked_network_is_clipped_by_its_own_norm():
    whole, first, second = (nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), 1, 1))
    whole.grad = torch.tensor([[3.0, 99.0], [0.3, 0.0]])
    first.grad, second.grad = torch.tensor([4.0]), torch.tensor([0.4])
    optimizer = torch.optim.SGD([whole, first, second], lr=1.0)
    pruned = {whole: torch.tensor([[False, True], [False, False]])}
    clip_each([[(whole, 0), (first, None)], [(whole, 1), (second, None)]], optimizer, 1.0, pruned)
    optimizer.step()
    torch.testing.assert_close(whole.grad, torch.tensor([[0.6, 19.8], [0.3, 0.0]]))
    torch.testing.assert_close((first.grad, second.grad), (torch.tensor([0.8]), torch.tensor([0.4])))


def test_a_rate_that_is_a_tensor_changes_in_place_as_a_graph_needs_it():
    _, optimizer = a_layer([1.0])
    rate = optimizer.param_groups[0]["lr"] = torch.tensor(1.0)
    step = at_rates(lambda x, y: rate.clone(), optimizer, [0.5, 0.5, 0.25])
    seen = [step(None, None).item() for _ in range(3)]
    assert seen == [0.5, 0.5, 0.25]
    assert optimizer.param_groups[0]["lr"] is rate
