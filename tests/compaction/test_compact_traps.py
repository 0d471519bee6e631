"""Forwards that a trace could take for something else, and state that compaction must leave alone."""

import copy
import random

import numpy
import pytest
import torch
import torch.nn.functional as F
from compact_nets import cut, twins
from torch import nn

from autosparse.compaction import compact
from autosparse.masks import Masks

SHAPE = (8,)


class Layers(nn.Module):
    """Two layers and a head, with a given forward."""

    def __init__(self, forward, bias=True):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 6, bias), nn.Linear(6, 6, bias), nn.Linear(6, 3, bias)
        self.given = forward

    def forward(self, x):
        return self.given(self, x)


def skipping(draw):
    """A forward that leaves out its second layer as ``draw`` decides, in training."""

    def forward(net, x):
        x = net.first(x).relu()
        return net.head(x if net.training and draw() < 0.5 else net.second(x).relu())

    return forward


DRAWS = {
    "torch": (lambda: torch.rand(()), torch.manual_seed),
    "random": (random.random, random.seed),
    "numpy": (numpy.random.random, numpy.random.seed),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", DRAWS)
def test_a_layer_that_is_dropped_at_random_is_not_dropped_or_kept_for_good(name, seed):
    draw, set_seed = DRAWS[name]
    model = Layers(skipping(draw))
    set_seed(seed)
    expected = [float(draw()) for _ in range(3)]
    set_seed(seed)
    assert compact(model, cut(model, 0.8), SHAPE).reason is not None
    assert [float(draw()) for _ in range(3)] == expected


def test_dropout_draws_nothing_while_a_network_is_made_compact():
    model = nn.Sequential(nn.Linear(8, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    before = torch.get_rng_state()
    compact(model, cut(model, 0.8), SHAPE)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_hook_on_a_parameter_keeps_the_network_whole(register):
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    getattr(model[0].weight, register)(lambda _: None)
    assert compact(model, cut(model, 0.8), SHAPE).reason == "a hook watches the gradient of '0.weight'"


def overwriting(net, x):
    x = net.first(x)
    same = x.contiguous()  # x itself, under another name
    return net.second(same.add_(1.0)) + x


def test_an_operation_in_place_is_seen_by_all_names_of_its_tensor():
    model = Layers(overwriting, bias=False)
    masks = cut(model, 0.8)
    small = compact(model, masks, SHAPE)
    assert small.reason == "'add_' overwrites a tensor that is read again"
    expected, found = twins(model, small, masks, True, torch.randn(5, 8))
    torch.testing.assert_close(found, expected)


def test_an_operation_in_place_on_the_only_name_is_followed():
    model = Layers(lambda net, x: net.head(F.relu(F.relu(net.first(x), inplace=True).view(-1, 6), inplace=True)))
    assert compact(model, cut(model, 0.8), SHAPE).reason is None


def test_a_concatenation_by_keywords_keeps_its_channels():
    model = Layers(lambda net, x: net.head(torch.cat(tensors=[net.first(x)[:, :3], net.first(x)[:, 3:]], dim=1)))
    masks = cut(model, 0.5)
    expected, found = twins(model, compact(model, masks, SHAPE), masks, True, torch.randn(5, 8))
    torch.testing.assert_close(found, expected)


class Pooling(nn.Module):
    """A 2-D pooling of (batch, channels, places), which goes over channels too."""

    def __init__(self):
        super().__init__()
        self.first, self.pool, self.last = nn.Conv1d(3, 8, 3, padding=1), nn.MaxPool2d(3, 1, 1), nn.Conv1d(8, 2, 6)

    def forward(self, x):
        return self.last(self.pool(self.first(x))).flatten(1)


def test_a_pooling_over_channels_is_not_taken_for_one_over_places():
    model = Pooling()
    masks = Masks.dense(model)
    masks["last.weight"][:, ::2] = False
    small = compact(model, masks, (3, 6))
    assert small.reason == "channels are not followed through 'pool' (maxpool2d)"
    expected, found = twins(model, small, masks, True, torch.randn(5, 3, 6))
    torch.testing.assert_close(found, expected)


def test_layers_that_are_not_in_the_network_s_mode_keep_their_own():
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    model(torch.randn(20, 8))
    model[1].eval()
    masks, x = cut(model, 0.5), torch.randn(20, 8)
    small = compact(model, masks, SHAPE)
    assert small.network.training
    torch.testing.assert_close(small.network(x), masks.apply_(copy.deepcopy(model))(x))


class Tied(nn.Module):
    """Two layers with one weight, called in another order than they are defined in."""

    def __init__(self, both=True):
        super().__init__()
        self.stem, self.first, self.second = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.head, self.both = nn.Linear(6, 3), both
        self.second.weight = self.first.weight

    def forward(self, x):
        x = self.second(self.stem(x).relu()).relu()
        return self.head(self.first(x).relu() if self.both else x)


@pytest.mark.parametrize("both", [True, False])
def test_a_shared_weight_is_masked_and_written_back_under_any_of_its_names(both):
    model = Tied(both)
    masks = cut(model, 0.6)
    small = compact(model, masks, SHAPE)
    [mask] = [mask for name, mask in small.masks.items() if small.network.get_parameter(name).shape == (6, 6)]
    assert torch.equal(mask, masks["first.weight"])
    for parameter in small.network.parameters():
        parameter.data.fill_(7.0)
    small.write_back(model)
    assert (model.first.weight == 7.0).all()


class Centred(nn.Module):
    """Keeps a running mean of its own, in a buffer, and counts its steps as ``count`` does."""

    def __init__(self, update, count=lambda net: None):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.update, self.count = update, count
        self.register_buffer("mean", torch.zeros(6))
        self.steps = 0

    def forward(self, x):
        self.count(self)
        x = self.first(x).relu()
        self.update(self, x.detach())
        return self.head(self.second(x - self.mean).relu())


def add_step(net):
    net.steps += 1


def restart(net):
    net.mean = torch.zeros(6)


LEAVING = {
    "in place": Centred(lambda net, x: net.mean.mul_(0.9).add_(0.1 * x.mean(0))),
    "by an operator": Centred(lambda net, x: net.mean.__iadd__(0.1 * x.mean(0))),
    "all of it": Centred(lambda net, x: net.mean.copy_(x.mean(0))),
    "a part": Centred(lambda net, x: net.mean.__setitem__(0, x.mean())),
    "without x": Centred(lambda net, x: net.mean.add_(1)),
    "in a new tensor": Centred(lambda net, x: restart(net)),
    "by out": Centred(lambda net, x: torch.mean(x, 0, out=net.mean)),
}


@pytest.mark.parametrize("how", LEAVING)
def test_a_forward_that_changes_its_buffers_keeps_the_network_whole(how):
    model = copy.deepcopy(LEAVING[how])
    masks, before = cut(model, 0.8), copy.deepcopy(model.state_dict())
    small = compact(model, masks, SHAPE)
    assert small.reason == "its forward changes 'mean'"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    x = torch.rand(5, 8)
    expected, found = twins(model, small, masks, True, x)
    torch.testing.assert_close(found, expected)


def test_a_forward_that_counts_in_python_keeps_the_network_whole():
    model = Centred(lambda net, x: None, add_step)
    assert compact(model, cut(model, 0.8), SHAPE).reason == "its forward changes 'steps'"
    assert model.steps == 0


def test_statistics_of_layers_of_pytorch_are_theirs_to_change():
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    assert compact(model, cut(model, 0.8), SHAPE).reason is None


STATEMENTS = {
    "relu_": lambda x: x.relu_(),
    "add_": lambda x: x.add_(1.0),
    "inplace": lambda x: F.relu(x, inplace=True),
    "F.relu_": F.relu_,
    "part": lambda x: x.__setitem__((slice(None), 0), 1.0),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_an_operation_in_place_whose_result_is_not_used_is_done_all_the_same(name):
    """Its result has no other name, so it looks like dead code."""

    def forward(net, x):
        x = net.first(x)
        STATEMENTS[name](x)
        return net.head(net.second(x))

    model = Layers(forward)
    masks = cut(model, 0.8)
    small = compact(model, masks, SHAPE)
    assert "overwrites a tensor that is read again" in small.reason
    expected, found = twins(model, small, masks, True, torch.randn(5, 8))
    torch.testing.assert_close(found, expected)
