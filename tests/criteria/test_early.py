"""Rounds of a few steps, rewound, against loops written out by hand."""

import copy
from itertools import cycle, islice

import pytest
import torch
import torch.nn.functional as F
from small_nets import NETS, data, highest, make

from autosparse.criteria import prune, score
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

LR, MOMENTUM = 0.05, 0.9


def by_hand(start, batches, sparsity, rounds, steps, size, by):
    """Compute the same as plainly as it gets, with the momentum written out."""
    names = list(prunable(start))
    masks = {name: torch.ones_like(start.get_parameter(name), dtype=torch.bool) for name in names}
    pieces = cycle([piece for x, y in batches for piece in zip(x.split(size), y.split(size), strict=True)])
    whole = cycle(batches)
    for i in range(rounds):
        network = copy.deepcopy(start).train()
        velocity = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
        zero(network, masks)
        for x, y in islice(pieces, steps):
            gradients = torch.autograd.grad(F.cross_entropy(network(x), y), list(network.parameters()))
            with torch.no_grad():
                for (name, p), gradient in zip(network.named_parameters(), gradients, strict=True):
                    velocity[name] = MOMENTUM * velocity[name] + gradient
                    p -= LR * velocity[name]
            zero(network, masks)
        saliency = {name: network.get_parameter(name).detach().abs() for name in names}
        if by != "magnitude":
            x, y = next(whole)
            weights = [network.get_parameter(name) for name in names]
            gradients = torch.autograd.grad(F.cross_entropy(network(x), y), weights)
            of = network if by == "snip" else start
            saliency = {
                name: (of.get_parameter(name).detach() * masks[name] * g).abs()
                for name, g in zip(names, gradients, strict=True)
            }
        masks = highest(saliency, masks, sparsity if i == rounds - 1 else 1 - (1 - sparsity) ** ((i + 1) / rounds))
    return Masks(masks)


def zero(network, masks):
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)


@pytest.mark.parametrize("by", ["magnitude", "snip", "rewound-snip"])
@pytest.mark.parametrize("net", NETS)
def test_masks_are_those_of_a_loop_by_hand(net, by):
    asked = {"rounds": 3, "steps": 4, "by": by}
    masks = prune(make(net), "early", 0.8, data(), lr=LR, momentum=MOMENTUM, batch_size=8, **asked)
    assert masks == by_hand(make(net), data(), 0.8, size=8, **asked)


def test_without_steps_it_is_magnitude_or_snip():
    for by, same in (("magnitude", "magnitude"), ("snip", "snip"), ("rewound-snip", "snip")):
        masks = prune(make("conv"), "early", 0.6, data(1), rounds=1, steps=0, by=by)
        assert masks == prune(make("conv"), same, 0.6, data(1))


def test_the_model_is_left_as_it_was():
    model = make("residual with batchnorm").eval()
    before = copy.deepcopy(model.state_dict())
    score(model, "early", data(), sparsity=0.5, rounds=2, steps=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


def test_steps_that_diverge_are_told():
    with pytest.raises(AutosparseError, match=r"the 9 steps of training diverge: the loss becomes (nan|inf)"):
        score(make("conv"), "early", data(), sparsity=0.5, rounds=1, steps=9, lr=1e200)
