"""Masks on a model: which weights they may name, and that a pruned one is exactly 0."""

import copy

import pytest
import torch
from torch import nn, tensor

from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

OPTIMIZERS = {
    "adam with weight decay": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1, fused=True),
    "sgd with momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


@pytest.fixture
def masks(model):
    draws = torch.Generator().manual_seed(1)
    return Masks.from_scores({n: torch.rand(w.shape, generator=draws) for n, w in prunable(model).items()}, 0.5)


def pruned_values(model, masks):
    return torch.cat([weight[~masks[name]] for name, weight in prunable(model).items()])


def step(model, optimizer):
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight


def test_prunable_are_linear_and_conv_weights_by_name(model):
    assert {name: tuple(w.shape) for name, w in prunable(model).items()} == {
        "0.weight": (4, 1, 3, 3),
        "4.weight": (3, 16),
    }


def test_prunable_leaves_out_normalisation_embeddings_and_biases():
    model = nn.ModuleList([nn.BatchNorm1d(2), nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.Embedding(2, 2)])
    assert prunable(model) == {}


def test_prunable_names_follow_nested_modules():
    assert list(prunable(nn.ModuleDict({"block": nn.Sequential(nn.Conv1d(1, 1, 1), nn.Conv3d(1, 1, 1))}))) == [
        "block.0.weight",
        "block.1.weight",
    ]


def test_prunable_weight_of_a_bare_layer():
    assert list(prunable(nn.Linear(2, 2))) == ["weight"]


def test_shared_weight_is_prunable_once():
    assert list(prunable(Tied())) == ["first.weight"]


def test_dense_masks_keep_everything(model):
    masks = Masks.dense(model)
    assert (list(masks), masks.kept, masks.total) == (["0.weight", "4.weight"], 84, 84)


def test_apply_sets_pruned_weights_to_exactly_zero(model, masks):
    assert torch.equal(pruned_values(masks.apply_(model), masks), torch.zeros(42))


def test_apply_overwrites_even_nan(model, masks):
    with torch.no_grad():
        model[4].weight.fill_(torch.nan)
    assert torch.equal(pruned_values(masks.apply_(model), masks), torch.zeros(42))


def test_apply_changes_nothing_else(model, masks):
    before = copy.deepcopy(model.state_dict())
    masks.apply_(model)
    for name, value in model.state_dict().items():
        kept = masks.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value[kept], before[name][kept]), name


def test_apply_returns_the_model(model, masks):
    assert masks.apply_(model) is model


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_hold_keeps_pruned_weights_at_zero_after_every_step(model, masks, kind):
    optimizer = OPTIMIZERS[kind](model.parameters())
    step(model, optimizer)  # so that the optimiser has moments of the weights that are pruned now
    masks.hold(model, optimizer)
    for _ in range(5):
        step(model, optimizer)
        assert torch.equal(pruned_values(model, masks), torch.zeros(42))


def test_hold_applies_at_once(model, masks):
    masks.hold(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert torch.equal(pruned_values(model, masks), torch.zeros(42))


def test_hold_lets_kept_weights_train(model, masks):
    optimizer = OPTIMIZERS["adam with weight decay"](model.parameters())
    masks.hold(model, optimizer)
    before = {name: weight.detach().clone() for name, weight in prunable(model).items()}
    step(model, optimizer)
    assert all((weight != before[name])[masks[name]].all() for name, weight in prunable(model).items())


def test_removing_the_handle_ends_the_hold(model, masks):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks.hold(model, optimizer).remove()
    step(model, optimizer)
    assert pruned_values(model, masks).abs().min() > 0


MISFITS = {
    "unknown layer": ({"9.weight": torch.ones(2)}, r"'9\.weight' is missing, the mask \(2,\)"),
    "another shape": ({"4.weight": torch.ones(2, 2)}, r"'4\.weight' is \(3, 16\), the mask \(2, 2\)"),
    "a bias": ({"4.bias": torch.ones(3)}, r"'4\.bias' is missing"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_apply_refuses_masks_of_another_model(model, kind):
    tensors, message = MISFITS[kind]
    with pytest.raises(AutosparseError, match="masks do not fit the model: " + message):
        Masks(tensors).apply_(model)


@pytest.mark.parametrize("kind", MISFITS)
def test_hold_refuses_masks_of_another_model(model, kind):
    tensors, message = MISFITS[kind]
    with pytest.raises(AutosparseError, match="masks do not fit the model: " + message):
        Masks(tensors).hold(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_misfit_leaves_the_model_alone(model):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(AutosparseError):
        Masks({"0.weight": torch.zeros(4, 1, 3, 3), "9.weight": torch.zeros(1)}).apply_(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_numbers_become_bools():
    assert Masks({"a": tensor([0.0, 2.0])})["a"].tolist() == [False, True]


def test_to_moves_every_mask(masks):
    assert {mask.device.type for mask in masks.to("meta").values()} == {"meta"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_is_held_is_to_the_bit_what_is_filled_with_zeros(dtype, layout):
    draws = torch.Generator().manual_seed(0)
    model = nn.Conv2d(4, 3, 3, dtype=dtype)
    kept = torch.rand(model.weight.shape, generator=draws) < 0.5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Masks({"weight": kept}).hold(model, optimizer)
    values = torch.randn(model.weight.shape, generator=draws).to(dtype)
    values.flatten()[:4] = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0], dtype=dtype)
    model.weight.data = values.clone(memory_format=layout)
    optimizer.step()
    expected = values.masked_fill(~kept, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    assert torch.equal(model.weight.detach().contiguous().view(bits), expected.view(bits))
