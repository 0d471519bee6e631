"""Channels-last while training: another memory layout, the same network."""

import contextlib
import copy
from dataclasses import replace

import pytest
import torch
from conv_nets import Conv, ViewingConv, fresh
from torch import nn

from autosparse.criteria import prune, score
from autosparse.irp import rewind_prune
from autosparse.masks import Masks
from autosparse.training import Recipe, loop, train
from autosparse.training.layout import channels_last, fills_its_memory

SHAPE = (1, 8, 8)
RECIPE = Recipe(epochs=2, batch_size=64, lr=2e-3)


def is_channels_last(model):
    return model.conv2.weight.is_contiguous(memory_format=torch.channels_last)


def test_weights_are_channels_last_within_the_block_and_as_before_after_it():
    model = fresh()
    before = {name: p.stride() for name, p in model.named_parameters()}
    with channels_last(model, SHAPE):
        assert is_channels_last(model)
    assert {name: p.stride() for name, p in model.named_parameters()} == before


def test_the_layout_is_as_before_also_after_an_error():
    model = fresh()
    with pytest.raises(ZeroDivisionError), channels_last(model, SHAPE):
        1 / 0  # noqa: B018
    assert model.conv2.weight.is_contiguous()


def test_values_and_flat_positions_are_the_same():
    model = fresh()
    before = {name: p.detach().flatten().clone() for name, p in model.named_parameters()}
    with channels_last(model, SHAPE):
        assert all(torch.equal(p.flatten(), before[name]) for name, p in model.named_parameters())
    assert all(torch.equal(p.flatten(), before[name]) for name, p in model.named_parameters())


def test_no_parameter_is_replaced_so_that_optimisers_and_masks_still_hold_it():
    model = fresh()
    before = list(model.parameters())
    with channels_last(model, SHAPE):
        assert all(a is b for a, b in zip(before, model.parameters(), strict=True))


def test_the_feature_maps_are_channels_last_too():
    model, seen = fresh().eval(), []
    with channels_last(model, SHAPE):
        model.conv2.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
        model(torch.rand(4, *SHAPE))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_a_model_that_cannot_take_it_is_left_alone_and_trains(tiny_digits):
    model = fresh(ViewingConv)
    with channels_last(model, SHAPE):
        assert not is_channels_last(model)
    losses = train(model, tiny_digits, RECIPE).train_loss
    assert losses == pytest.approx(train(fresh(), tiny_digits, RECIPE).train_loss, rel=1e-4)


def test_the_trial_leaves_mode_and_buffers_alone():
    model = fresh().train()
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    with channels_last(model, SHAPE):
        assert model.training
        assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_training_is_the_same_within_rounding(tiny_digits, monkeypatch, optimizer):
    recipe = replace(RECIPE, optimizer=optimizer)
    ours, plain = fresh(), fresh()
    history = train(ours, tiny_digits, recipe)
    monkeypatch.setattr(loop, "channels_last", lambda *_: contextlib.nullcontext())
    expected = train(plain, tiny_digits, recipe)
    assert history.train_loss == pytest.approx(expected.train_loss, rel=1e-4)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-2, atol=2e-4)


def test_masked_weights_are_zero_and_no_others(tiny_digits):
    model = fresh()
    masks = Masks.from_scores(score(model, "random"), 0.8)
    train(model, tiny_digits, RECIPE, masks)
    for name, mask in masks.items():
        assert torch.equal(model.get_parameter(name) != 0, mask), name


@pytest.mark.parametrize("criterion", ["magnitude", "random", "random-erk"])
def test_masks_made_in_this_layout_are_those_made_outside(criterion, tmp_path):
    model = fresh()
    expected = prune(model, criterion, 0.7)
    with channels_last(model, SHAPE):
        masks = prune(model, criterion, 0.7)
        masks.save(tmp_path / "masks.safetensors")
    assert masks == expected == Masks.load(tmp_path / "masks.safetensors")


def test_gradients_scored_in_this_layout_are_those_outside(tiny_digits):
    model, batch = fresh(), [next(tiny_digits.train.batches(100))]
    expected = score(model, "snip", batch)
    with channels_last(model, SHAPE):
        found = score(model, "snip", batch)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-6)


def test_survival_data_of_a_convolutional_network_name_its_initial_weights(tiny_digits):
    model = fresh()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    survival = rewind_prune(model, tiny_digits, iterations=2, final_density=0.3, recipe=replace(RECIPE, epochs=1))
    for name, param in survival.param.items():
        assert torch.equal(param, before[name])
        assert param.is_contiguous()
        assert survival.survived[name].is_contiguous()
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(p.is_contiguous() for p in model.parameters())


def test_a_training_may_follow_a_training(tiny_digits):
    """Gradients of the first, in its layout, must not reach the second's optimiser."""
    model = fresh(Conv)
    train(model, tiny_digits, RECIPE)
    assert model.conv2.weight.grad is None


@pytest.mark.parametrize(("channels", "stride", "taken"), [(6, 2, False), (6, 1, True), (8, 2, True)])
def test_a_model_whose_backward_pass_would_overrun_its_memory_is_left_alone(channels, stride, taken):
    """oneDNN's channels-last kernel of such a convolution corrupts the heap on CPUs with AVX2 but without AVX-512."""
    model = torch.nn.Sequential(torch.nn.Conv2d(1, channels, 3), torch.nn.Conv2d(channels, 12, 1, stride))
    with channels_last(model, SHAPE):
        assert model[1].weight.stride() == ((channels, 1, channels, channels) if taken else (channels, 1, 1, 1))
        for _ in range(30):
            model(torch.randn(64, *SHAPE)).square().sum().backward()


def strided(shape, stride):
    return torch.empty_strided(shape, stride)


@pytest.mark.parametrize(
    ("tensor", "fills"),
    [
        (torch.zeros(4, 6), True),
        (torch.zeros(4, 6).t(), True),
        (torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last), True),
        (torch.zeros(()), True),
        (strided((1, 5), (99, 1)), True),
        (torch.zeros(4, 6)[:, :3], False),
        (torch.zeros(6)[::2], False),
        (torch.zeros(1).expand(3), False),
        (torch.zeros(4, 6)[:2], True),
    ],
)
def test_which_tensors_have_no_gaps_in_memory(tensor, fills):
    assert fills_its_memory(tensor) is fills


def sliced(part):
    """A network that has a part of another one's parameter, and that parameter."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.2, 0.2, generator=generator)
    if part == "columns":
        donor = torch.randn(32, 100, generator=generator) * 0.1
        model[1].weight = nn.Parameter(donor[:, :64])
    else:
        donor = torch.zeros(64)
        model[1].bias = nn.Parameter(donor[::2])
    return model, donor


@pytest.mark.parametrize("part", ["columns", "every other"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_a_parameter_that_is_a_slice_is_trained_and_nothing_else(tiny_digits, part, optimizer):
    model, donor = sliced(part)
    before, twin = donor.clone(), copy.deepcopy(model)
    for name, parameter in twin.named_parameters():
        assert parameter.data_ptr() != dict(model.named_parameters())[name].data_ptr()
        parameter.data = parameter.data.contiguous()
    recipe = Recipe(optimizer=optimizer, lr=0.01, epochs=2, batch_size=50)
    train(model, tiny_digits, recipe)
    train(twin, tiny_digits, recipe)
    for found, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    outside = (slice(None), slice(64, None)) if part == "columns" else slice(1, None, 2)
    assert torch.equal(donor[outside], before[outside])
