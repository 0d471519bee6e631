"""Criteria on networks with attention, in either mode, against references of their own."""

import pytest
import torch
import torch.nn.functional as F
from attention_nets import ATTENTION, make
from small_nets import data, loss_after_training

from autosparse.criteria import score
from autosparse.masks import prunable

MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def gradients(model, x, y):
    weights = list(prunable(model).values())
    return torch.autograd.grad(F.cross_entropy(model(x), y), weights)


@MODES
@pytest.mark.parametrize("net", ATTENTION)
def test_grasp_is_the_change_of_the_gradient_along_itself(net, training):
    """H g by central differences of the gradient, which needs no second derivative."""
    model, [(x, y)] = make(net, training), data(batches=1)
    weights, step = prunable(model), 1e-5
    initial = {name: weight.detach().clone() for name, weight in weights.items()}
    along = gradients(model, x, y)
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for (name, weight), g in zip(weights.items(), along, strict=True):
                weight.copy_(initial[name] + sign * step * g)
        ends.append(gradients(model, x, y))
    expected = {name: initial[name] * (up - down) / (2 * step) for name, up, down in zip(weights, *ends, strict=True)}
    for name in ("grasp", "grasp-mb"):
        scores = score(make(net, training), name, [(x, y)])
        for layer, s in scores.items():
            assert torch.allclose(s, expected[layer], rtol=1e-4, atol=1e-9), (name, layer)


@MODES
@pytest.mark.parametrize("net", ATTENTION)
def test_prospr_is_the_derivative_of_the_loss_after_training_by_the_mask(net, training):
    settings = {"steps": 2, "lr": 0.1, "momentum": 0.9}
    model, batches, step = make(net, training), data(), 1e-5
    expected = {}
    for name, weight in prunable(model).items():
        expected[name] = torch.zeros_like(weight)
        for index in range(weight.numel()):
            original = weight.data.view(-1)[index].item()
            losses = []
            for sign in (1, -1):
                weight.data.view(-1)[index] = original * (1 + sign * step)
                losses.append(loss_after_training(model, batches, **settings))
            weight.data.view(-1)[index] = original
            expected[name].view(-1)[index] = abs(losses[0] - losses[1]) / (2 * step)
    total = sum(e.sum() for e in expected.values())
    for name, s in score(model, "prospr", batches, **settings).items():
        assert torch.allclose(s, expected[name] / total, atol=1e-6, rtol=1e-4)
