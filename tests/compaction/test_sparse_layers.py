"""Sparse Linear layers: the same numbers as a dense layer with zeros, forward and backward, and where they are used."""

import copy

import pytest
import torch
from torch import nn

from autosparse.compaction import compact, sparse
from autosparse.compaction.sparse import SparseLinear, is_worth_it
from autosparse.masks import Masks


@pytest.fixture(autouse=True)
def products():
    """Skip without sparse products; asked here, for the first backward pass fixes the devices that autograd knows."""
    if not sparse.has_products():
        pytest.skip("this PyTorch has no sparse products on the CPU")


def twins(bias=True, outputs=7, inputs=11, share=0.3):
    """A dense layer with zeros, the sparse one, and what is kept; the first row and column keep nothing."""
    draws = torch.Generator().manual_seed(0)
    dense = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
    kept = torch.rand(outputs, inputs, generator=draws) < share
    kept[0], kept[:, 0] = False, False
    with torch.no_grad():
        dense.weight.mul_(kept)
    return dense, SparseLinear(copy.deepcopy(dense), kept), kept


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3)])
def test_outputs_and_gradients_are_those_of_the_dense_layer(bias, shape):
    dense, layer, kept = twins(bias)
    x = torch.randn(*shape, 11, dtype=torch.float64, requires_grad=True)
    y, upstream = dense(x), torch.randn(*shape, 7, dtype=torch.float64)
    found = layer(x)
    torch.testing.assert_close(found, y)
    expected = torch.autograd.grad(y, [x, *dense.parameters()], upstream)
    gradients = torch.autograd.grad(found, [x, *layer.parameters()], upstream)
    torch.testing.assert_close(gradients[0], expected[0])
    torch.testing.assert_close(gradients[1], expected[1][kept])
    if bias:
        torch.testing.assert_close(gradients[2], expected[2])


def test_numbers_of_a_layer_by_hand():
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[0.0, 2.0, 3.0], [5.0, 0.0, 0.0]])
    layer.bias.data = torch.tensor([10.0, 20.0])
    found = SparseLinear(layer, layer.weight != 0)
    assert found.weight.tolist() == [2.0, 3.0, 5.0]
    y = found(torch.tensor([[1.0, 10.0, 100.0]]))
    assert y.tolist() == [[330.0, 25.0]]
    y[0, 0].backward()
    assert found.weight.grad.tolist() == [10.0, 100.0, 0.0]


def test_a_gradient_that_is_not_wanted_is_not_computed():
    _, layer, _ = twins()
    layer.weight.requires_grad_(False)
    layer(torch.ones(2, 11, dtype=torch.float64)).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [2.0] * 7


def test_a_second_derivative_is_refused():
    _, layer, _ = twins()
    x = torch.ones(2, 11, dtype=torch.float64, requires_grad=True)
    [gradient] = torch.autograd.grad(layer(x).pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_a_copy_and_a_state_that_is_loaded_hold_their_own_values():
    dense, layer, _ = twins()
    twin = copy.deepcopy(layer)
    twin.weight.data.mul_(2)
    x = torch.randn(3, 11, dtype=torch.float64)
    torch.testing.assert_close(layer(x), dense(x))
    layer.load_state_dict(twin.state_dict())
    torch.testing.assert_close(layer(x) - layer.bias, 2 * (dense(x) - dense.bias))
    assert torch.equal(layer.dense().weight, 2 * dense.weight)


def test_what_a_layer_of_another_precision_hands_on_is_taken():
    _, layer, _ = twins()
    assert layer(torch.ones(2, 11)).dtype == torch.float64


@pytest.mark.parametrize(
    ("density", "size", "dtype", "worth"),
    [
        (0.04, 300, torch.float32, True),
        (0.04, 300, torch.float64, True),
        (0.06, 300, torch.float32, False),
        (0.04, 250, torch.float32, False),
        (0.04, 300, torch.bfloat16, False),
        (0.0, 300, torch.float32, False),
    ],
)
def test_where_it_is_worth_it(density, size, dtype, worth):
    kept = torch.zeros(size * size, dtype=torch.bool)
    kept[torch.randperm(size * size, generator=torch.Generator().manual_seed(0))[: int(density * size * size)]] = True
    assert is_worth_it(nn.Linear(size, size, dtype=dtype), kept.view(size, size)) == worth


def test_rows_and_columns_that_keep_nothing_do_not_count():
    kept = torch.zeros(400, 400, dtype=torch.bool)
    kept[:30, :30] = True
    assert not is_worth_it(nn.Linear(400, 400), kept)


def wide():
    """Two wide layers, BatchNorm between them, and a small one: random masks of 2 %, and a first column."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(192, 400), nn.BatchNorm1d(400), nn.ReLU(), nn.Linear(400, 200), nn.ReLU(),
        nn.Linear(200, 4),
    ).double()  # fmt: skip
    masks = {name: torch.rand_like(model.get_parameter(name)) < 0.02 for name in ("1.weight", "4.weight")}
    for mask in masks.values():
        mask[:, 0] = True  # a unit that reads nothing would be constant, and BatchNorm of it rounding noise
    return model, Masks(masks | {"6.weight": torch.ones(4, 200)})


def sparse_layers(network):
    return [name for name, layer in network.named_modules() if isinstance(layer, SparseLinear)]


@pytest.mark.parametrize("training", [True, False])
def test_a_compact_network_of_sparse_layers_has_the_same_function(training):
    model, masks = wide()
    small = compact(model, masks, (3, 8, 8), sparse=True)
    assert sparse_layers(small.network) == ["1", "4"]
    full = masks.apply_(copy.deepcopy(model)).train(training)
    network = small.network.train(training)
    x = torch.randn(9, 3, 8, 8, dtype=torch.float64)
    expected, found = full(x), network(x)
    torch.testing.assert_close(found, expected)
    expected.pow(2).sum().backward()
    found.pow(2).sum().backward()
    for name, value in network.named_parameters():
        whole = full.get_parameter(name).grad
        where = small.places.get(name)
        torch.testing.assert_close(value.grad, whole if where is None else whole.flatten()[where], msg=name)


def test_its_weights_are_what_is_kept_and_are_written_back():
    model, masks = wide()
    small = compact(model, masks, (3, 8, 8), sparse=True)
    weight = small.network.get_parameter("1.weight")
    assert weight.dim() == 1
    assert small.masks["6.weight"].dim() == 2
    assert "1.weight" not in small.masks, "nothing in it is pruned"
    weight.data.fill_(7.0)
    full = masks.apply_(copy.deepcopy(model))
    small.write_back(full)
    assert (full[1].weight == 7.0).sum() == weight.numel() <= masks["1.weight"].sum()
    assert not full[1].weight[~masks["1.weight"]].any()


def test_only_the_kept_weights_are_counted():
    model, masks = wide()
    small = compact(model, masks, (3, 8, 8), sparse=True)
    counts = [layer.multiplied for layer in small.network.modules() if isinstance(layer, SparseLinear)]
    assert small.flops == (
        2 * (sum(counts) + 4 * small.network.get_submodule("6").in_features),
        2 * (192 * 400 + 400 * 200 + 800),
    )


def test_without_asking_weights_stay_matrices():
    model, masks = wide()
    assert sparse_layers(compact(model, masks, (3, 8, 8)).network) == []


@pytest.mark.parametrize("asked", [True, False])
def test_for_inference_it_is_sparse_where_that_is_faster_and_its_batch_norm_is_folded(asked):
    model, masks = wide()
    x = torch.randn(9, 3, 8, 8, dtype=torch.float64)
    model(x)  # statistics
    small = compact(model.eval(), masks, (3, 8, 8), sparse=asked)
    folded = small.folded()
    assert sparse_layers(folded) == ["1", "4"]
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in folded.modules())
    torch.testing.assert_close(folded(x), masks.apply_(copy.deepcopy(model))(x))
    assert sparse_layers(small.network) == (["1", "4"] if asked else []), "it is left as it was"


def test_nothing_is_said_of_a_feature_in_beta(recwarn):
    model, masks = wide()
    compact(model, masks, (3, 8, 8), sparse=True).network(torch.randn(2, 3, 8, 8, dtype=torch.float64))
    assert not recwarn.list
