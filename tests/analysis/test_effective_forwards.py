"""Effective masks of networks whose forwards take differences, divide, and pick by size."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from unit_graph import UnitGraph

from autosparse.analysis import effective_masks
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

SHAPE = (1, 4, 4)


class Between(nn.Module):
    """A layer of 16 units, a function, and a layer that reads what it returns."""

    def __init__(self, function, width=16, mean=1.0):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(16, 16), nn.Linear(width, 3), function
        self.inner = nn.Linear(16, 16)
        self.weight = nn.Parameter(torch.ones(16))
        self.register_buffer("mean", torch.full((16,), mean))

    def forward(self, x):
        return self.last(self.function(self, F.relu(self.first(x.flatten(1)))))


def by_hand(net, x):
    centred = x - x.mean(1, keepdim=True)
    return net.weight * centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)


def by_variance(net, x):
    variance, mean = torch.var_mean(x, 1, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + 1e-5)


def in_place(net, x):
    x = x.clone()
    x.sub_(net.mean)
    x /= 2.0
    return x


WITHOUT_INNER = {
    "LayerNorm by hand": by_hand,
    "LayerNorm by its variance": by_variance,
    "normalize": lambda net, x: F.normalize(x, dim=1),
    "divided by its norm": lambda net, x: x / x.norm(dim=1, keepdim=True).clamp_min(1e-6),
    "less a buffer": lambda net, x: (x - net.mean) / 3,
    "less a number": lambda net, x: x - 1,
    "from a number": lambda net, x: 1 - x,
    "in place": in_place,
    "less what it is, written as a sum": lambda net, x: x + -1.0 + -net.mean,
    "negated": lambda net, x: -x,
    "inverse": lambda net, x: 1 / (x + 1),
    "standardised over the batch": lambda net, x: (x - x.mean(0)) / (x.std(0, unbiased=False) + 1e-5),
    "log": lambda net, x: torch.log(x),
    "log of sigmoid": lambda net, x: F.logsigmoid(x),
    "clamped": lambda net, x: x.clamp(-0.5, 0.5),
    "hardtanh": lambda net, x: F.hardtanh(x),
    "sorted": lambda net, x: x.sort(1).values,
    "scaled down": lambda net, x: torch.add(x, x.tanh(), alpha=-1),
    "differences": lambda net, x: x @ (torch.eye(16) - torch.eye(16).roll(1, 0)).to(x),
}
WITH_INNER = {
    "x - f(x)": lambda net, x: x - F.relu(net.inner(x)),
    "subtracted in place": lambda net, x: (x * 1).sub_(net.inner(x)),
    "maxout": lambda net, x: torch.max(x, net.inner(x)),
    "minimum": lambda net, x: torch.minimum(x, net.inner(x)),
    "divided by a gate": lambda net, x: x / (1 + torch.exp(-net.inner(x))),
    "lerp": lambda net, x: torch.lerp(x, net.inner(x), 0.5),
}
NARROWER = {
    "max": (lambda net, x: x.view(-1, 4, 4).max(2).values, 4),
    "min": (lambda net, x: x.view(-1, 4, 4).min(2)[0], 4),
    "amin": (lambda net, x: x.view(-1, 4, 4).amin(2), 4),
    "median": (lambda net, x: x.view(-1, 4, 4).median(-1, keepdim=True).values.flatten(1), 4),
    "topk": (lambda net, x: x.view(-1, 4, 4).topk(2).values.flatten(1), 8),
    "std": (lambda net, x: x.view(-1, 4, 4).std(2), 4),
    "CReLU": (lambda net, x: torch.cat([F.relu(x), F.relu(-x)], 1), 32),
    "cosine": (lambda net, x: F.cosine_similarity(x.view(-1, 4, 4), net.weight.view(1, 4, 4), dim=2), 4),
}
CASES = {
    **{name: (function, 16, ("inner.weight",)) for name, function in WITHOUT_INNER.items()},
    **{name: (function, 16, ()) for name, function in WITH_INNER.items()},
    **{name: (function, width, ("inner.weight",)) for name, (function, width) in NARROWER.items()},
}


@pytest.mark.parametrize("mean", [0.0, 1.0, 120.0])
@pytest.mark.parametrize("name", CASES)
def test_a_dense_network_loses_only_what_its_forward_does_not_use(name, mean):
    function, width, unused = CASES[name]
    net = Between(function, width, mean)
    effective = effective_masks(net, Masks.dense(net), SHAPE)
    assert {name for name, mask in effective.items() if not mask.all()} == set(unused)


@pytest.mark.parametrize("offset", [0.5, 1.0, 120.0])
def test_images_that_are_normalised_in_the_forward_are_inputs(offset):
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(16, 3)

        def forward(self, x):
            return self.body((x.sub_(offset) / 64).flatten(1))

    net = Normalised()
    assert effective_masks(net, Masks.dense(net), SHAPE).sparsity == 0


def difference(net, graph):
    entered = graph.top
    graph.linear("inner.weight", net.inner)
    graph.add(entered)


def both_signs(net, graph):
    graph.top = torch.cat([graph.top, graph.top])


def largest(net, graph):
    below, graph.top = graph.top.view(4, 4), graph.new((4, 1, 1))
    for row, unit in zip(below, graph.top.flatten(), strict=True):
        for source in row:
            graph.edge(source, unit, None)


SEARCHED = {"x - f(x)": difference, "maxout": difference, "CReLU": both_signs, "max": largest, "less a buffer": None}


@pytest.mark.parametrize("name", SEARCHED)
@given(seed=st.integers(0, 2**20), density=st.sampled_from((0.05, 0.1, 0.2, 0.5)))
def test_kept_are_the_weights_that_a_search_finds_on_a_path(name, seed, density):
    function, width, _ = CASES[name]
    net, graph = Between(function, width), UnitGraph(SHAPE)
    graph.linear("first.weight", net.first)
    if SEARCHED[name]:
        SEARCHED[name](net, graph)
    graph.linear("last.weight", net.last)
    draws = torch.Generator().manual_seed(seed)
    masks = Masks({n: torch.rand(w.shape, generator=draws) < density for n, w in prunable(net).items()})
    assert effective_masks(net, masks, SHAPE) == graph.effective(masks)


def test_a_forward_whose_paths_all_end_is_refused_and_no_network_of_100_percent():
    class Rounded(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)).round()  # flat everywhere

    net = Rounded(16, 3)
    with pytest.raises(AutosparseError, match="no effective masks of Rounded: no path can be followed"):
        effective_masks(net, Masks.dense(net), SHAPE)


def test_masks_that_leave_no_path_are_no_reason_to_refuse():
    net = Between(lambda net, x: x)
    masks = Masks.dense(net)
    masks["first.weight"].zero_()
    assert effective_masks(net, masks, SHAPE).kept == 0
