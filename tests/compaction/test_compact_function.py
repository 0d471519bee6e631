"""A compact network computes what the masked one does."""

import copy

import pytest
import torch
from compact_nets import NETS, cut, images, made, twins
from hypothesis import given, settings
from hypothesis import strategies as st

from autosparse.compaction import compact
from autosparse.criteria import prune
from autosparse.models import build_model

SHAPE = (3, 8, 8)
MODELS = {"lenet-300-100": (1, 8, 8), "lenet-5": (1, 16, 16), "resnet20": (3, 8, 8), "mobilenet_v2": (3, 8, 8)}


@settings(max_examples=25)
@given(st.sampled_from(sorted(NETS)), st.floats(0.0, 0.999), st.integers(0, 10**6), st.booleans())
def test_outputs_and_gradients_of_what_is_kept_are_those_of_the_masked_network(name, sparsity, seed, training):
    model = made(name, seed).double()
    masks = cut(model, sparsity, seed)
    small = compact(model, masks, SHAPE)
    full = masks.apply_(copy.deepcopy(model)).train(training)
    small.network.train(training)
    x = images(dtype=torch.float64)
    expected, found = full(x), small.network(x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    expected.square().sum().backward()
    found.square().sum().backward()
    whole = dict(full.named_parameters())
    for parameter_name, parameter in small.network.named_parameters():
        gradient = whole[parameter_name].grad
        if parameter_name in small.places:
            gradient = gradient.flatten()[small.places[parameter_name]]
        kept = small.masks.get(parameter_name, torch.ones_like(gradient, dtype=torch.bool))
        torch.testing.assert_close(parameter.grad[kept], gradient[kept], rtol=1e-7, atol=1e-7)


@settings(max_examples=25)
@given(st.sampled_from(sorted(NETS)), st.floats(0.5, 0.999), st.integers(0, 10**6))
def test_what_came_off_has_no_gradient(name, sparsity, seed):
    model = made(name, seed).double()
    masks = cut(model, sparsity, seed)
    small = compact(model, masks, SHAPE)
    full = masks.apply_(copy.deepcopy(model)).train()
    full(images(dtype=torch.float64)).square().sum().backward()
    for parameter_name, places in small.places.items():
        parameter = dict(full.named_parameters()).get(parameter_name)
        if parameter is not None:
            gone = torch.ones(parameter.numel(), dtype=torch.bool)
            gone[places.flatten()] = False
            if parameter_name in masks:
                gone &= masks[parameter_name].flatten()
            assert not parameter.grad.flatten()[gone].any(), parameter_name


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("criterion", "sparsity"), [("random", 0.9), ("random", 0.99), ("snip", 0.95), ("snip", 0.99)])
@pytest.mark.parametrize("name", MODELS)
def test_registered_networks(name, criterion, sparsity, training):
    shape = MODELS[name]
    model = build_model(name, 10, shape)
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(16, *shape, generator=draws)
    masks = prune(model, criterion, sparsity, [(x, torch.arange(16) % 10)])
    small = compact(model, masks, shape)
    assert small.reason is None
    expected, found = twins(model, small, masks, training, x)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max()))


def test_statistics_of_batchnorm_go_on_as_in_the_masked_network():
    model = made("residual")
    masks = cut(model, 0.8)
    small = compact(model, masks, SHAPE)
    full = masks.apply_(copy.deepcopy(model)).train()
    full(images()), small.network.train()(images())
    whole = dict(full.named_buffers())
    for name, value in small.network.named_buffers():
        if name in whole:
            expected = whole[name].flatten()[small.places[name]] if name in small.places else whole[name]
            torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("name", NETS)
def test_masks_that_keep_all_leave_the_network_as_it_is(name):
    model = made(name)
    small = compact(model, cut(model, 0.0), SHAPE)
    assert small.parameters[0] == small.parameters[1]
    assert small.flops_left == 1.0


@pytest.mark.parametrize("name", NETS)
def test_masks_that_keep_nothing_leave_a_constant(name):
    model = made(name)
    masks = type(cut(model, 0.5))({n: torch.zeros_like(m) for n, m in cut(model, 0.5).items()})
    small = compact(model, masks, SHAPE)
    expected, found = twins(model, small, masks, False, images())
    torch.testing.assert_close(found, expected)
