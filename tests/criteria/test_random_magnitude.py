"""The two criteria that need nothing but the model."""

import math

import pytest
import torch
from builders import lenet
from torch import nn, tensor

from autosparse.criteria import score
from autosparse.masks import Masks


@pytest.fixture(scope="module")
def model():
    return lenet()


def flat(scores):
    return torch.cat([s.flatten() for s in scores.values()])


def test_magnitude_by_hand():
    model = nn.Linear(3, 1)
    model.weight.data = tensor([[-2.0, 0.5, 0.0]])
    assert score(model, "magnitude")["weight"].tolist() == [[2.0, 0.5, 0.0]]


def test_magnitude_scores_are_no_view_of_the_weights():
    model = nn.Linear(3, 1)
    model.weight.data = tensor([[1.0, 2.0, 3.0]])
    scores = score(model, "magnitude")
    model.weight.data.zero_()
    assert scores["weight"].tolist() == [[1.0, 2.0, 3.0]]


def test_random_seed_is_reproducible(model):
    assert torch.equal(flat(score(model, "random", seed=3)), flat(score(model, "random", seed=3)))


def test_random_seeds_differ(model):
    assert not torch.equal(flat(score(model, "random", seed=3)), flat(score(model, "random", seed=4)))


def test_random_default_seed_is_zero(model):
    assert torch.equal(flat(score(model, "random")), flat(score(model, "random", seed=0)))


def test_random_does_not_touch_the_global_generator(model):
    before = torch.get_rng_state()
    score(model, "random", seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_layers_of_one_shape_get_different_scores():
    scores = score(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "random")
    assert not torch.equal(scores["0.weight"], scores["1.weight"])


def test_random_does_not_depend_on_the_weights(model):
    other = lenet(9)
    assert torch.equal(flat(score(model, "random", seed=3)), flat(score(other, "random", seed=3)))


def test_random_scores_are_uniform(model):
    counts = flat(score(model, "random", seed=3)).histc(10, 0, 1)
    n = counts.sum().item()
    assert ((counts - n / 10).abs() < 5 * math.sqrt(n * 0.1 * 0.9)).all()


def test_random_keeps_every_layer_at_the_density_of_the_network(model):
    masks = Masks.from_scores(score(model, "random", seed=3), 0.8)
    for name, density in masks.density_by_layer().items():
        assert density == pytest.approx(0.2, abs=5 * math.sqrt(0.2 * 0.8 / masks[name].numel())), name
