"""PHEW: transition probabilities by count, forced walks by hand, complete paths, exact budgets, refusals."""

import itertools

import pytest
import torch
from attention_nets import make as attention_net
from builders import lenet
from hypothesis import given
from hypothesis import strategies as st
from small_nets import NETS, make
from torch import nn

from autosparse.analysis import effective_masks
from autosparse.criteria import prune, score
from autosparse.criteria.walks import Walker
from autosparse.errors import AutosparseError
from autosparse.masks import prunable
from autosparse.models import build_model


def two_layers(first, second):
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    model[0].weight.data, model[2].weight.data = torch.tensor(first), torch.tensor(second)
    return model


def counts(model, forward, walks=40_000):
    """How often walks take each weight of the two layers, as a share of all walks."""
    _, weights = Walker(model, torch.Generator().manual_seed(0)).walk(walks, forward)
    return (torch.bincount(weights, minlength=8) / walks).tolist()


FIRST, SECOND = [[1.0, -2.0], [3.0, 0.0]], [[1.0, 1.0], [-1.0, 3.0]]


def test_forward_a_weight_is_taken_in_proportion_among_those_that_leave_its_unit():
    """Each input begins half of the walks: 1 : 3 from the first, 2 : 0 from the second; then 1 : 1 and 1 : 3."""
    expected = [0.5 / 4, 0.5, 0.5 * 3 / 4, 0.0]
    up = 0.5 / 4 + 0.5, 0.5 * 3 / 4
    expected += [up[0] / 2, up[1] / 4, up[0] / 2, up[1] * 3 / 4]
    assert counts(two_layers(FIRST, SECOND), forward=True) == pytest.approx(expected, abs=0.015)


def test_backward_a_weight_is_taken_in_proportion_among_those_that_enter_its_unit():
    expected = [0.25, 0.25, 0.125, 0.375]
    down = expected[0] + expected[2], expected[1] + expected[3]
    expected = [down[0] / 3, down[0] * 2 / 3, down[1], 0.0, *expected]
    assert counts(two_layers(FIRST, SECOND), forward=False) == pytest.approx(expected, abs=0.015)


def test_a_walk_that_has_no_choice_is_kept_first():
    """Only the second hidden unit leads on from the first input, and only the first output can be reached from it."""
    model = two_layers([[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]])
    masks = prune(model, "phew", 0.75)
    assert masks["0.weight"].tolist() == [[False, False], [True, False]]
    assert masks["2.weight"].tolist() == [[False, True], [False, False]]


def test_places_of_a_kernel_are_drawn_in_proportion():
    model = nn.Sequential(nn.Conv2d(1, 1, (1, 4), bias=False))
    model[0].weight.data = torch.tensor([[[[1.0, -2.0, 0.0, 5.0]]]])
    _, weights = Walker(model, torch.Generator().manual_seed(0)).walk(40_000, True)
    shares = (torch.bincount(weights, minlength=4) / 40_000).tolist()
    assert shares == pytest.approx([1 / 8, 2 / 8, 0, 5 / 8], abs=0.015)


def path_of(model, numbers):
    """(layer, output, input) of each weight of one walk."""
    found = []
    for number in numbers:
        for name, weight in prunable(model).items():
            if number < weight.numel():
                found.append((name, *map(int, torch.unravel_index(torch.tensor(number), weight.shape)[:2])))
                break
            number -= weight.numel()
    return found


@pytest.mark.parametrize("forward", [True, False])
def test_a_walk_goes_from_unit_to_unit_also_past_shortcuts(forward):
    model = build_model("resnet20", 10, (3, 8, 8))
    walks, weights = Walker(model, torch.Generator().manual_seed(1)).walk(60, forward)
    lengths = set()
    for walk in range(60):
        path = path_of(model, weights[walks == walk].tolist())
        path = path if forward else path[::-1]
        lengths.add(len(path))
        assert path[0][0] == "conv.weight"
        assert path[-1][0] == "fc.weight"
        assert all(before[1] == after[2] for before, after in itertools.pairwise(path))
    assert len(lengths) > 3, "walks take shortcuts or not"


def test_where_no_weight_leads_on_every_way_is_as_likely():
    found = counts(two_layers([[1.0, 1.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 3.0]]), forward=True)
    assert found == pytest.approx([0.5, 0.5, 0, 0, 0.5, 0, 0.5, 0], abs=0.015)


def test_walks_begin_at_the_inputs_in_turn():
    model = two_layers(FIRST, SECOND)
    walker = Walker(model, torch.Generator().manual_seed(0))
    for _ in range(2):
        walks, weights = walker.walk(3, True)
        begun = [int(weights[walks == walk][0]) % 2 for walk in range(3)]
        assert begun in ([0, 1, 0], [1, 0, 1])


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5", "resnet20", "mobilenet_v2"])
def test_all_but_the_end_of_the_last_walk_lies_on_a_path(name):
    shape = (1, 16, 16)
    model = build_model(name, 10, shape)
    masks = prune(model, "phew", 0.98)
    assert masks.kept == masks.total - round(0.98 * masks.total)
    effective = effective_masks(model, masks, shape)
    assert masks.kept - effective.kept <= len(masks)


@given(sparsity=st.floats(0, 0.999), net=st.sampled_from(sorted(NETS)), seed=st.integers(0, 5))
def test_the_sparsity_is_met_to_the_weight(sparsity, net, seed):
    masks = prune(make(net), "phew", sparsity, seed=seed)
    assert masks.kept == masks.total - round(masks.total * sparsity)


def test_masks_follow_the_seed():
    first, again, other = (prune(make("conv"), "phew", 0.7, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_large_weights_stay_more_often():
    model = lenet()
    masks = prune(model, "phew", 0.9)
    for name in ("fc1.weight", "fc2.weight"):
        size = prunable(model)[name].detach().abs()
        assert size[masks[name]].mean() > 1.3 * size.mean()


def test_scores_are_the_magnitudes_of_what_stays():
    model = make("conv")
    for name, s in score(model, "phew", sparsity=0.6).items():
        kept = s > -torch.inf
        assert torch.equal(s[kept], prunable(model)[name].detach().abs()[kept])


@pytest.mark.parametrize("net", ["attention", "transformer"])
def test_attention_cannot_be_walked_through(net):
    with pytest.raises(AutosparseError, match=r"criterion 'phew' walks from channel to channel: no channel"):
        prune(attention_net(net), "phew", 0.5)
