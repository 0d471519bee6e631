"""SynFlow-L2: squared path products by hand, conservation, the path kernel's trace, no data."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_nets import NETS, data, highest, make
from torch import nn

from autosparse.criteria import prune, score
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

ONE_ROUND = {"sparsity": 0.0, "rounds": 1}


def test_a_weight_scores_the_sum_over_its_paths_of_the_products_of_squared_weights():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    model[2].weight.data = torch.tensor([[-5.0, 6.0]])
    scores = score(model, "synflow-l2", input_shape=(2,), **ONE_ROUND)
    assert scores["0.weight"].tolist() == [[1 * 25, 4 * 25], [9 * 36, 16 * 36]]
    assert scores["2.weight"].tolist() == [[(1 + 4) * 25, (9 + 16) * 36]]


def test_scores_over_squared_weights_sum_to_the_trace_of_the_path_kernel():
    """The kernel's entry (p, p) sums (d v_p / d theta)^2 over the weights theta on path p, whose value is v_p."""
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)).double()
    a, b = (layer.weight.detach() for layer in model)
    scores = score(model, "synflow-l2", input_shape=(4,), **ONE_ROUND)
    trace = sum(b[o, h] ** 2 + a[h, i] ** 2 for i, h, o in itertools.product(range(4), range(3), range(2)))
    assert torch.allclose((scores["0.weight"] / a**2).sum() + (scores["1.weight"] / b**2).sum(), trace)


@pytest.mark.parametrize("net", sorted(NETS.keys() - {"linear"}))  # whose tanh scales the flow
def test_every_cut_through_the_network_carries_the_whole_flow(net):
    model = make(net)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    scores = list(score(model, "synflow-l2", input_shape=(1, 4, 4), **ONE_ROUND).values())
    assert scores[0].sum() > 0
    assert torch.allclose(scores[0].sum(), scores[-1].sum(), rtol=1e-12)


def test_rounds_equal_a_loop_by_hand():
    network = make("residual with batchnorm").eval()
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.copy_(tensor**2)
    weights = prunable(network)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for i in range(1, 5):
        flow = torch.autograd.grad(network(torch.ones(1, 1, 4, 4, dtype=torch.float64)).sum(), list(weights.values()))
        saliency = {name: w.detach() * g for (name, w), g in zip(weights.items(), flow, strict=True)}
        masks = highest(saliency, masks, 0.8 if i == 4 else 1 - 0.2 ** (i / 4))
        for name, weight in weights.items():
            weight.data *= masks[name]
    found = prune(make("residual with batchnorm"), "synflow-l2", 0.8, input_shape=(1, 4, 4), rounds=4)
    assert found == Masks(masks)


@given(sparsity=st.floats(0, 0.99), net=st.sampled_from(sorted(NETS)))
def test_the_sparsity_is_met_to_the_weight(sparsity, net):
    masks = prune(make(net), "synflow-l2", sparsity, data(1), rounds=3)
    assert masks.kept == masks.total - round(masks.total * sparsity)


def test_signs_and_data_do_not_matter():
    model, flipped = make("conv"), make("conv")
    for parameter in flipped.parameters():
        parameter.data.neg_()
    assert prune(model, "synflow-l2", 0.7, data()) == prune(flipped, "synflow-l2", 0.7, data(seed=7))


def test_the_shape_of_an_input_is_asked_for():
    with pytest.raises(AutosparseError, match="criterion 'synflow-l2' needs the shape of an input"):
        prune(make("linear"), "synflow-l2", 0.5)
