"""NTK-SAP: its gradient by finite differences, the trace of a known kernel, rounds by hand; no data, no weights."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_nets import NETS, data, highest, make
from torch import nn

from autosparse.criteria import prune, score
from autosparse.criteria.ntk_sap import trace_gradient
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable
from autosparse.models import kaiming_normal_
from autosparse.seeds import generator

SHAPE = {"input_shape": (1, 4, 4)}


def perturbed(model, epsilon, seed):
    """A copy with noise on each prunable weight, drawn as the criterion draws it."""
    moved, random = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    for weight in prunable(moved).values():
        weight.data += epsilon * torch.randn(weight.shape, generator=random, dtype=torch.float64)
    return moved


@pytest.mark.parametrize("net", ["linear", "conv"])  # BatchNorm would need its statistics set by hand
def test_the_gradient_is_that_of_the_change_by_each_mask(net):
    model, x = make(net), data(1)[0][0]
    moved, masks, step = perturbed(model, 0.05, seed=3), Masks.dense(model), 1e-5
    found = trace_gradient(model, masks, x, 0.05, torch.Generator().manual_seed(3))
    for name, weight in prunable(model).items():
        pair = weight.data, moved.get_parameter(name).data
        for place in range(0, weight.numel(), 7):
            values = [w.view(-1)[place].item() for w in pair]
            changes = []
            for sign in (1, -1):
                for w, value in zip(pair, values, strict=True):
                    w.view(-1)[place] = value * (1 + sign * step)
                changes.append((model(x) - moved(x)).square().sum().item())
            for w, value in zip(pair, values, strict=True):
                w.view(-1)[place] = value
            expected = (changes[0] - changes[1]) / (2 * step)
            assert found[name].view(-1)[place].item() == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_of_one_linear_layer_it_is_the_trace_of_the_tangent_kernel():
    """The kernel's trace is the sum over weights of m^2 x^2; so d/dm = 2 x^2 at m = 1, on average over the noise."""
    model, x = nn.Linear(3, 2, bias=False).double(), torch.tensor([1.0, 2.0, 3.0]).double()
    draws, random, masks = 1000, torch.Generator().manual_seed(0), Masks.dense(model)
    found = [trace_gradient(model, masks, x.diag(), 0.01, random)["weight"] / 0.01**2 for _ in range(draws)]
    assert torch.allclose(torch.stack(found).mean(0), 2 * (x**2).expand(2, 3), rtol=5 * (2 / draws) ** 0.5)


def test_what_is_pruned_moves_nothing():
    model, x = make("conv"), data(1)[0][0]
    masks = prune(model, "random", 0.5)
    found = trace_gradient(model, masks, x, 0.1, torch.Generator().manual_seed(0))
    assert all((found[name][~mask] == 0).all() and (found[name][mask] != 0).any() for name, mask in masks.items())


def test_rounds_equal_a_loop_by_hand():
    network = make("conv")
    masks = Masks.dense(network)
    for i in range(3):
        totals = {name: torch.zeros_like(w) for name, w in prunable(network).items()}
        for draw in range(2):
            random = generator(5, "ntk-sap", i, draw)
            kaiming_normal_(network, random)
            noise = torch.randn(8, 1, 4, 4, generator=random, dtype=torch.float64)
            for name, g in trace_gradient(network, masks, noise, 0.1, random).items():
                totals[name] += g
        saliency = {name: total.abs() for name, total in totals.items()}
        masks = Masks(highest(saliency, masks, 0.7 if i == 2 else 1 - 0.3 ** ((i + 1) / 3)))
    options = {"rounds": 3, "draws": 2, "epsilon": 0.1, "examples": 8, "seed": 5}
    assert prune(make("conv"), "ntk-sap", 0.7, **options, **SHAPE) == masks


def test_batchnorm_takes_the_statistics_of_the_noise_for_both_outputs():
    model = make("residual with batchnorm").eval()
    x = data(1)[0][0] * 3 + 1
    fixed = copy.deepcopy(model)
    with torch.no_grad():
        fixed.norm.momentum = 1.0
        fixed.norm.train()(fixed.stem(x))
        fixed.norm.eval()
    moved = perturbed(fixed, 0.05, seed=1)
    weights = list(prunable(model))
    change = (fixed(x) - moved(x)).square().sum()
    gradients = torch.autograd.grad(change, [*(net.get_parameter(n) for net in (fixed, moved) for n in weights)])
    found = trace_gradient(model, Masks.dense(model), x, 0.05, torch.Generator().manual_seed(1))
    for n, of_fixed, of_moved in zip(weights, gradients, gradients[len(weights) :], strict=False):
        by_mask = fixed.get_parameter(n) * of_fixed + moved.get_parameter(n) * of_moved
        assert torch.allclose(found[n], by_mask)


def test_neither_data_nor_weights_matter():
    first = prune(make("conv", seed=0), "ntk-sap", 0.7, data(), rounds=2)
    assert first == prune(make("conv", seed=1), "ntk-sap", 0.7, rounds=2, **SHAPE)
    assert first != prune(make("conv"), "ntk-sap", 0.7, data(), rounds=2, seed=1)


@given(sparsity=st.floats(0, 0.98), net=st.sampled_from(sorted(NETS)))
def test_the_sparsity_is_met_to_the_weight(sparsity, net):
    masks = prune(make(net), "ntk-sap", sparsity, rounds=2, draws=1, examples=4, **SHAPE)
    assert masks.kept == masks.total - round(masks.total * sparsity)


def test_the_shape_of_an_input_is_asked_for():
    with pytest.raises(AutosparseError, match="criterion 'ntk-sap' needs the shape of an input"):
        score(make("conv"), "ntk-sap", sparsity=0.5)


def test_dropout_in_training_mode_drops_the_same_units_before_and_after_the_weights_move():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Dropout(0.5), nn.Linear(12, 3)).double().train()
    x, masks = torch.randn(8, 1, 4, 4, dtype=torch.float64), Masks.dense(model)
    sums = []
    for epsilon in (1e-2, 1e-4):
        found = trace_gradient(model, masks, x, epsilon, torch.Generator().manual_seed(0))
        sums.append(sum(g.abs().sum().item() for g in found.values()))
    assert sums[1] < 1e-3 * sums[0], "the change vanishes with the square of the noise"
