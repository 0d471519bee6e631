"""What a compact network is like: what comes off, what stays, and what is told of it."""

import copy

import pytest
import torch
from compact_nets import cut, images, made, twins
from torch import nn

from autosparse.compaction import compact
from autosparse.errors import AutosparseError
from autosparse.masks import Masks

SHAPE = (3, 8, 8)


def chain():
    """2 inputs, 3 hidden units, 2 outputs; unit 1 reads nothing, unit 2 is not read."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = {
        "0.weight": torch.tensor([[1, 1], [0, 0], [1, 0]]),
        "2.weight": torch.tensor([[1, 1, 0], [0, 1, 0]]),
    }
    return model, Masks(masks)


def test_a_unit_that_nothing_reads_comes_off_and_one_with_a_bias_alone_stays():
    model, masks = chain()
    small = compact(model, masks, (2,))
    assert small.network.get_parameter("0.weight").tolist() == [model[0].weight[0].tolist(), [0.0, 0.0]]
    assert small.places["2.weight"].tolist() == [[0, 1], [3, 4]]
    assert small.parameters == (2 * 2 + 2 + 2 * 2 + 2, 6 + 3 + 6 + 2)
    assert small.flops == (2 * (2 + 1), 2 * (6 + 6))  # what unit 1 gives is computed once for all examples


def test_a_unit_that_reads_nothing_and_has_no_bias_comes_off():
    model, masks = chain()
    model[0].bias = None
    small = compact(model, masks, (2,))
    assert small.places["0.weight"].tolist() == [[0, 1]]


def test_a_unit_that_only_reads_units_without_input_comes_off():
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    masks = {f"{i}.weight": torch.eye(4) for i in range(3)}
    masks["0.weight"][2, 2] = 0
    small = compact(model, Masks(masks), (4,))
    assert [tuple(p.shape) for p in small.network.parameters()] == [(3, 4), (3, 3), (3, 3)]


def test_inputs_that_nothing_reads_are_not_multiplied():
    model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 2))
    masks = {"0.weight": torch.zeros(50, 100), "2.weight": torch.ones(2, 50)}
    masks["0.weight"][:, [3, 70]] = 1
    small = compact(model, Masks(masks), (100,))
    assert small.network.get_parameter("0.weight").shape == (50, 2)


def test_branches_of_a_sum_compute_their_own_channels_only():
    model = made("bare")
    masks = Masks.dense(model)
    masks["back.weight"][torch.tensor([0, 2, 3])] = False
    small = compact(model, masks, SHAPE)
    assert small.network.get_parameter("back.weight").shape == (3, 5, 3, 3)
    assert small.network.get_parameter("stem.weight").shape == (6, 3, 3, 3)
    expected, found = twins(model, small, masks, True, images())
    torch.testing.assert_close(found, expected)


def test_depthwise_convolutions_keep_one_group_for_each_channel():
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 2, 1), nn.Flatten())
    masks = Masks.dense(model)
    masks["2.weight"][:, [1, 4]] = False
    small = compact(model, masks, SHAPE)
    deep = small.network.get_submodule("1")
    assert (deep.groups, deep.in_channels, deep.out_channels) == (4, 4, 4)


def test_the_full_network_is_left_as_it_was():
    model = made("residual")
    before = copy.deepcopy(model.state_dict())
    small = compact(model, cut(model, 0.9), SHAPE)
    for parameter in small.network.parameters():
        parameter.data.fill_(7.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["units", "residual", "grouped", "dense"])
def test_what_is_written_back_is_what_was_taken(name):
    model = made(name)
    masks = cut(model, 0.9)
    small = compact(model, masks, SHAPE)
    full = masks.apply_(copy.deepcopy(model))
    expected = copy.deepcopy(full.state_dict())
    small.write_back(full)
    assert all(torch.equal(value, expected[key]) for key, value in full.state_dict().items())


def test_layers_keep_their_mode_and_whether_they_are_trained():
    model = made("residual").eval()
    model.inner.weight.requires_grad_(False)
    small = compact(model, cut(model, 0.5), SHAPE)
    assert not small.network.training
    assert not small.network.get_parameter("inner.weight").requires_grad


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else self.layer(-x)


class Moody(Counting):
    def forward(self, x):
        return self.layer(x).relu() if self.training else self.layer(x)


class Overwriting(Counting):
    def forward(self, x):
        y = self.layer(x)
        z = y.relu_()
        return z + y


class Hooked(Counting):
    def __init__(self):
        super().__init__()
        self.layer.register_forward_hook(lambda *_: None)

    def forward(self, x):
        return self.layer(x)


class Watched(Hooked):
    def __init__(self):
        super(Hooked, self).__init__()
        self.register_forward_pre_hook(lambda *_: None)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Counting, "its forward cannot be traced"),
        (Moody, "its forward differs between training and evaluation"),
        (Overwriting, "overwrites a tensor that is read again"),
        (Hooked, "a hook watches 'layer'"),
        (Watched, "a hook watches it"),
    ],
)
def test_a_network_that_cannot_be_followed_stays_whole_and_says_why(kind, reason):
    model = kind()
    masks = Masks({"layer.weight": torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]])})
    small = compact(model, masks, (4,))
    assert reason in small.reason
    assert small.flops_left == 1.0
    torch.testing.assert_close(small.network.layer.weight, model.layer.weight * masks["layer.weight"])


def test_layers_that_share_their_weight_stay_whole():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model[2].weight = model[0].weight
    masks = Masks({"0.weight": torch.eye(4).bool(), "4.weight": torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0]])})
    small = compact(model, masks, (4,))
    assert small.reason == "channels are not followed through '_0' (linear)"
    x = torch.randn(5, 4)
    expected, found = twins(model, small, masks, True, x)
    torch.testing.assert_close(found, expected)
    assert small.network.get_submodule("0").weight is small.network.get_submodule("2").weight


def test_an_operation_that_is_not_known_keeps_its_channels_and_is_named():
    small = compact(made("dense"), cut(made("dense"), 0.9), SHAPE)
    assert small.reason == "channels are not followed through 'add' (add)"
    assert "not more, because channels are not followed" in str(small)


def test_masks_of_another_network_are_refused():
    with pytest.raises(AutosparseError, match=r"masks do not fit the model"):
        compact(made("units"), cut(made("residual"), 0.9), SHAPE)


def test_dropout_is_told_of():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    masks = Masks({"0.weight": torch.eye(4), "2.weight": torch.eye(4)[:2]})
    small = compact(model, masks, (4,))
    assert small.draws
    assert small.network.get_parameter("0.weight").shape == (2, 4)


def test_units_that_are_constant_are_computed_once_and_not_for_each_example():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    masks = {name: torch.ones_like(model.get_parameter(name)) for name in ("0.weight", "2.weight", "4.weight")}
    masks["0.weight"][[0, 3]] = 0
    masks["2.weight"][1, [1, 2, 4]] = 0
    small = compact(model, Masks(masks), (6,))
    assert [small.network.get_submodule(n).live for n in "024"] == [(3, 6), (3, 3), (2, 3)]
    assert small.flops[0] == 2 * (18 + 9 + 6)
    expected, found = twins(model, small, Masks(masks), True, torch.randn(5, 6))
    torch.testing.assert_close(found, expected)
