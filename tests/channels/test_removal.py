"""Smaller networks compute what masked ones do, on every kind of network and in any state of BatchNorm."""

import copy

import pytest
import torch
import torch.nn.functional as F
from channel_nets import NETS, images, randomised
from torch import nn

from autosparse.channels import channel_groups, physically_prune, select_channels, weight_scores
from autosparse.criteria import prune
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable
from autosparse.models import build_model


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def structured(model, sparsity, seed=0):
    return prune(model, "random-structured", sparsity, seed=seed)


def assert_same_outputs(model, masks, smaller, x):
    """Check that outputs are equal but for rounding: within 1e-5 of the largest logit in float32, 1e-12 in float64."""
    with torch.inference_mode():
        masked = masks.apply_(copy.deepcopy(model))(x)
        difference = (masked - smaller(x)).abs().max()
    assert difference <= (1e-5 if x.dtype == torch.float32 else 1e-12) * max(1.0, masked.abs().max())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("net", NETS)
def test_small_networks_compute_the_same_without_their_pruned_channels(net, sparsity, training):
    model = randomised(NETS[net]()).train(training).double()
    masks = structured(model, sparsity)
    assert_same_outputs(model, masks, physically_prune(model, masks), images(dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet-300-100", (1, 8, 8)),
        ("lenet-5", (1, 28, 28)),
        ("resnet20", (3, 16, 16)),
        ("mobilenet_v2", (3, 16, 16)),
        ("resnet18", (3, 32, 32)),
        ("vgg16", (3, 32, 32)),
    ],
)
def test_the_models_at_hand_compute_the_same_with_fewer_parameters(name, shape):
    model = randomised(build_model(name, 10, shape)).eval()
    masks = structured(model, 0.5)
    smaller = physically_prune(model, masks)
    assert parameters(smaller) < 0.5 * parameters(model)
    assert_same_outputs(model, masks, smaller, images(2, *shape[:2]))


@pytest.mark.slow
def test_the_wide_head_of_vgg_computes_the_same_with_fewer_parameters():
    model = randomised(build_model("vgg16-4096", 10, (3, 32, 32))).eval()
    masks = structured(model, 0.8)
    smaller = physically_prune(model, masks)
    assert parameters(smaller) < 0.1 * parameters(model)
    assert_same_outputs(model, masks, smaller, images(2, 3, 32))


def test_parameters_that_are_left_are_those_counted_by_hand():
    """Conv 1->4 (3x3), BatchNorm, Conv 4->5 (3x3), on 6x6 images; Linear 5*2*2->3. Kept: 2 of 4 and 3 of 5."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 3)
    )
    kept = [torch.tensor([1, 0, 0, 1]).bool(), torch.tensor([0, 1, 1, 0, 1]).bool()]
    groups = channel_groups(model)
    masks = Masks.where_scored(weight_scores(model, groups, [torch.rand(4), torch.rand(5)], kept))
    smaller = physically_prune(model, masks)
    assert parameters(model) == (36 + 4) + 8 + (180 + 5) + (60 + 3)
    assert parameters(smaller) == (18 + 2) + 4 + (54 + 3) + (36 + 3)
    conv, norm, second, last = smaller[0], smaller[1], smaller[3], smaller[5]
    assert (conv.in_channels, conv.out_channels, norm.num_features) == (1, 2, 2)
    assert (second.in_channels, second.out_channels) == (2, 3)
    assert (last.in_features, last.out_features) == (12, 3)
    assert torch.equal(last.weight, model[5].weight[:, [4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19]])
    assert smaller(torch.zeros(2, 1, 6, 6)).shape == (2, 3)


def test_depthwise_convolutions_become_narrower():
    model = NETS["depthwise"]()
    smaller = physically_prune(model, structured(model, 0.6))
    deep = smaller.deep
    assert deep.groups == deep.in_channels == deep.out_channels == len(deep.weight) < 6


def test_the_model_is_left_as_it_was():
    model = randomised(NETS["residual"]())
    before = copy.deepcopy(model.state_dict())
    physically_prune(model, structured(model, 0.5))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("net", NETS)
def test_after_training_under_the_masks_the_outputs_are_still_the_same(net):
    model = NETS[net]()
    masks = structured(model, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    masks.hold(model, optimizer)
    for step in range(5):
        optimizer.zero_grad()
        F.cross_entropy(model(images(8, seed=step)), torch.arange(8) % 4).backward()
        optimizer.step()
    smaller = physically_prune(model.eval(), masks)
    assert_same_outputs(model, masks, smaller, images())


@pytest.mark.parametrize("net", NETS)
def test_a_step_of_training_makes_of_the_smaller_network_what_it_makes_of_the_masked_one(net):
    model = randomised(NETS[net]())
    masks = structured(model, 0.5)
    smaller = physically_prune(model, masks)
    for network in (model, smaller):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        held = masks.hold(network, optimizer) if network is model else None
        F.cross_entropy(network(images(8)), torch.arange(8) % 4).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
        optimizer.step()
        assert held is None or held.remove() is None
    assert_same_outputs(model.eval(), masks, smaller.eval(), images())


def test_unstructured_masks_lose_the_channels_that_nothing_reads_and_keep_their_zeros():
    model = randomised(NETS["residual"]()).eval()
    masks = Masks.from_scores({name: w.abs() for name, w in prunable(model).items()}, 0.97)
    smaller = physically_prune(model, masks)
    assert parameters(smaller) < parameters(model)
    zeros = sum(int((w == 0).sum()) for w in prunable(smaller).values())
    assert masks.kept >= sum(w.numel() for w in prunable(smaller).values()) - zeros
    assert_same_outputs(model, masks, smaller, images())


def test_a_channel_that_only_unread_channels_read_goes_too():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    masks = Masks.dense(model)
    masks["4.weight"][:, :2] = False  # units 0 and 1 of the second layer are not read
    masks["2.weight"][2:, 3] = False  # and unit 3 of the first only by those
    smaller = physically_prune(model, masks)
    assert [tuple(w.shape) for w in prunable(smaller).values()] == [(3, 3), (3, 3), (2, 3)]
    assert_same_outputs(model, masks, smaller, torch.randn(4, 3))


def test_a_channel_whose_weights_are_pruned_stays_where_its_bias_is_read():
    model = randomised(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    masks = Masks.dense(model)
    masks["0.weight"][1] = False
    smaller = physically_prune(model, masks)
    assert smaller[0].out_features == 4
    assert_same_outputs(model, masks, smaller, torch.randn(4, 3))


def test_of_a_layer_that_nothing_reads_one_channel_is_left():
    model = randomised(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    masks = Masks({"2.weight": torch.zeros(2, 4)})
    smaller = physically_prune(model, masks)
    assert smaller[0].out_features == 1
    assert_same_outputs(model, masks, smaller, torch.randn(4, 3))


def test_batchnorm_without_parameters_or_statistics_becomes_narrower():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1),
        nn.BatchNorm2d(6, affine=False),
        nn.Conv2d(6, 6, 1),
        nn.BatchNorm2d(6, track_running_stats=False),
        nn.Conv2d(6, 2, 1),
    )
    masks = structured(model, 0.5)
    smaller = physically_prune(model, masks)
    assert smaller[1].num_features == smaller[0].out_channels < 6
    assert smaller[3].num_features == smaller[2].out_channels < 6
    assert_same_outputs(model, masks, smaller, images())


def test_frozen_parameters_stay_frozen():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].bias.requires_grad_(False)
    smaller = physically_prune(model, structured(model, 0.5))
    assert [p.requires_grad for p in smaller.parameters()] == [True, False, True, True]


def test_a_model_whose_channels_cannot_be_followed_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))
    with pytest.raises(AutosparseError, match="no channel mapping for Sequential: at '1'"):
        physically_prune(model, Masks.dense(model))


def test_masks_of_another_model_are_refused():
    with pytest.raises(AutosparseError, match="masks do not fit the model"):
        physically_prune(NETS["viewed"](), Masks({"conv.weight": torch.ones(2, 2)}))


@pytest.mark.parametrize("net", NETS)
def test_the_masked_network_does_not_depend_on_weights_of_pruned_channels(net):
    """An independent check: what computes a pruned channel may be anything."""
    model = randomised(NETS[net]()).eval()
    groups = channel_groups(model)
    scores = [torch.rand(group.size, generator=torch.Generator().manual_seed(3)) for group in groups]
    kept = select_channels(groups, scores, 0.5)
    masks = Masks.where_scored(weight_scores(model, groups, scores, kept))
    masks.apply_(model)
    with torch.no_grad():
        before = model(images())
        for group, keep in zip(groups, kept, strict=True):
            for layer in group.rows:
                model.get_submodule(layer).weight[~keep] = 100.0
        assert torch.equal(model(images()), before)
        model.get_submodule(groups[0].rows[0]).weight[kept[0]] += 1.0
        assert not torch.equal(model(images()), before)
