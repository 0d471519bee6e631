"""The network for inference computes what the masked one does in evaluation mode."""

import copy

import pytest
import torch
from compact_nets import NETS, cut, images, made
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autosparse.compaction import compact
from autosparse.compaction.split import SplitLinear
from autosparse.models import build_model

SHAPE = (3, 8, 8)


@settings(max_examples=20)
@given(st.sampled_from(sorted(NETS)), st.floats(0.0, 0.99), st.integers(0, 10**6))
def test_outputs_of_any_masks_are_those_of_the_masked_network(name, sparsity, seed):
    model = made(name, seed).double()
    masks = cut(model, sparsity, seed)
    expected = masks.apply_(copy.deepcopy(model)).eval()(images(dtype=torch.float64))
    found = compact(model, masks, SHAPE).folded()(images(dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["resnet20", "vgg16"])
def test_no_batchnorm_is_left_in_registered_networks(name):
    model = build_model(name, 10, (3, 16, 16)).eval()
    masks = cut(model, 0.99)
    network = compact(model, masks, (3, 16, 16)).folded()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    x = images(side=16)
    expected = masks.apply_(model)(x)
    torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max()))


def test_it_sees_what_has_been_trained_since():
    model = made("residual")
    small = compact(model, cut(model, 0.5), SHAPE)
    small.network.train()(images())
    torch.testing.assert_close(small.folded()(images()), small.network.eval()(images()), rtol=1e-4, atol=1e-5)


def test_constants_become_biases():
    model = made("units")
    small = compact(model, cut(model, 0.97), SHAPE)
    assert any(isinstance(module, SplitLinear) for module in small.network.modules())
    assert not any(isinstance(module, SplitLinear) for module in small.folded().modules())


class Repeated(nn.Module):
    """One convolution twice, each time before a BatchNorm of its own."""

    def __init__(self):
        super().__init__()
        self.stem, self.again, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 2)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.first(self.again(self.stem(x))).relu()
        return self.head(self.second(self.again(x)).relu().mean((2, 3)))


class Sequences(nn.Module):
    """BatchNorm of the places of a sequence, after a Linear layer on its features; both are 8."""

    def __init__(self):
        super().__init__()
        self.features, self.norm, self.head = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.norm(self.features(x.mean(1))).relu().flatten(1))


class Plain(nn.Sequential):
    """A BatchNorm without weight and bias after a Linear layer."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 6), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2))


@pytest.mark.parametrize(("make", "left"), [(Repeated, 2), (Sequences, 1), (Plain, 0)])
def test_a_batchnorm_is_folded_only_where_it_is_the_layer_s_own(make, left):
    torch.manual_seed(0)
    model = make().double()
    for _ in range(3):
        model(images(dtype=torch.float64) * 2 + 1)
    masks = cut(model, 0.3)
    network = compact(model, masks, SHAPE).folded()
    expected = masks.apply_(model).eval()(images(dtype=torch.float64))
    torch.testing.assert_close(network(images(dtype=torch.float64)), expected, rtol=1e-9, atol=1e-9)
    assert sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()) == left
