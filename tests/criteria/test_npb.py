"""NPB: path counts by hand, exact budgets, no collapse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from npb_reference import objective
from small_nets import NETS, make
from torch import nn

from autosparse.criteria import prune, score
from autosparse.criteria.npb import ONE_PATH, path_network, paths_through
from autosparse.criteria.random_erk import erk_counts
from autosparse.errors import AutosparseError
from autosparse.masks import prunable
from autosparse.models import build_model
from autosparse.seeds import generator

SHAPE = (1, 4, 4)


def inputs_of(network, layer, masks, shape):
    """Paths through each weight of ``layer``, with the other layers masked."""
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).copy_(mask)
    seen = []
    handle = network.get_submodule(layer).register_forward_pre_hook(
        lambda module, x: seen.append(paths_through(module, *x) / ONE_PATH)
    )
    network(torch.full((1, *shape), ONE_PATH, dtype=torch.float64))
    handle.remove()
    return seen[0]


def test_paths_into_a_unit_are_counted_along_kept_weights_past_saturating_units():
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2), nn.ReLU6(), nn.Linear(2, 1))
    masks = {"0.weight": torch.tensor([[1, 1, 0], [0, 0, 1]]), "2.weight": torch.tensor([[1, 1], [0, 1]])}
    network = path_network(model)
    assert inputs_of(network, "2", masks, (3,)).tolist() == [[2, 1], [2, 1]]
    assert inputs_of(network, "4", masks, (3,)).tolist() == [[3, 1]]


def test_paths_into_a_channel_are_counted_over_its_positions_and_none_through_padding():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3, padding=1, stride=2))
    mask = torch.zeros(2, 1, 3, 3)
    mask[0, 0, 0, :2] = 1
    mask[1, 0, 1] = 1
    paths = inputs_of(path_network(model), "2", {"0.weight": mask}, (1, 4, 4))
    assert paths[0, 0].tolist() == [[0, 0, 0], [0, 2, 2], [0, 2, 2]]  # one output position, in a corner
    assert paths[0, 1].tolist() == [[0, 0, 0], [0, 3, 3], [0, 3, 3]]


def test_paths_of_a_residual_block_add_up():
    masks = {"stem.weight": torch.zeros(3, 1, 3, 3), "inner.weight": torch.zeros(3, 3, 3, 3)}
    masks["stem.weight"][:, 0, 1, 1] = torch.tensor([1.0, 1, 0])  # a weight in the middle sees all positions
    masks["stem.weight"][1, 0, 0, 0] = 1  # one in the corner sees 9 of the 16
    masks["inner.weight"][2, :, 1, 1] = 1
    network = path_network(make("residual with batchnorm"))
    assert inputs_of(network, "inner", masks, SHAPE)[0, :, 1, 1].tolist() == [16, 25, 0]
    assert (inputs_of(network, "head", masks, SHAPE)[0] * 16).tolist() == [16, 25, 41]


@given(net=st.sampled_from(list(NETS)), sparsity=st.floats(0, 0.995), seed=st.integers(0, 3))
def test_the_sparsity_is_met_to_the_weight_within_erk_budgets(net, sparsity, seed):
    masks = prune(make(net), "npb", sparsity, input_shape=SHAPE, seed=seed)
    assert masks.kept == masks.total - round(masks.total * sparsity)
    budgets = erk_counts({name: tuple(mask.shape) for name, mask in masks.items()}, sparsity)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == budgets


@pytest.mark.parametrize("sparsity", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("name", "shape"), [("lenet-300-100", (1, 8, 8)), ("resnet20", (3, 32, 32))])
def test_no_layer_collapses(name, shape, sparsity):
    masks = prune(build_model(name, 10, shape, 0), "npb", sparsity, input_shape=shape)
    assert masks.kept == masks.total - round(masks.total * sparsity)
    assert masks.collapsed_layers() == []


def test_in_every_layer_of_resnet20_random_masks_of_its_budget_are_worse():
    model = build_model("resnet20", 10, (3, 16, 16), 0)
    masks = prune(model, "npb", 0.97, input_shape=(3, 16, 16), alpha=0.1)
    network, draws = path_network(model), generator(5)
    for name, mask in masks.items():
        paths = inputs_of(network, name.removesuffix(".weight"), masks, (3, 16, 16)).reshape(*mask.shape[:2], -1)
        order = torch.rand(mask.numel(), generator=draws).argsort()
        values = []
        for chosen in (mask, mask.flatten()[order].view_as(mask)):
            m = chosen.reshape(*mask.shape[:2], -1).sum(-1).T[None].numpy()
            values.append(objective(m, paths[0].mean(-1)[None].numpy(), paths.shape[-1], 0.1, 1.0))
        assert values[0] >= values[1] - 1e-9, name


def effective(masks):
    """Units and paths of a fully connected network that lie on, or go, all the way."""
    weights = [mask.double() for mask in masks.values()]
    into, out_of = [torch.ones(weights[0].shape[1], dtype=torch.float64)], [torch.ones(10, dtype=torch.float64)]
    for weight in weights:
        into.append(weight @ into[-1])
    for weight in reversed(weights):
        out_of.insert(0, weight.T @ out_of[0])
    return sum(int((i * o > 0).sum()) for i, o in zip(into, out_of, strict=True)), float(into[-1].sum())


def test_lenet_has_more_effective_nodes_and_paths_than_with_random_weights_in_the_same_budgets():
    model = build_model("lenet-300-100", 10, (1, 28, 28), 0)
    nodes, paths = effective(prune(model, "npb", 0.98, input_shape=(1, 28, 28)))
    for seed in range(3):
        random_nodes, random_paths = effective(prune(model, "random-erk", 0.98, seed=seed))
        assert nodes > random_nodes
        assert paths > random_paths


def test_masks_follow_the_seed_and_nothing_else():
    model = build_model("lenet-300-100", 10, (1, 28, 28), 0)
    first = prune(model, "npb", 0.95, input_shape=(1, 28, 28), seed=1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        other = build_model("lenet-300-100", 10, (1, 28, 28), seed=7)
        assert first == prune(other, "npb", 0.95, [(torch.rand(2, 1, 28, 28), torch.zeros(2))], seed=1)
    finally:
        torch.set_num_threads(before)
    assert first != prune(model, "npb", 0.95, input_shape=(1, 28, 28), seed=2)


def test_weights_that_only_see_padding_stay_last():
    model = nn.Conv2d(2, 4, 3, padding=1).requires_grad_(False)
    for kept in (6, 20):
        mask = prune(model, "npb", 1 - kept / 72, input_shape=(2, 1, 1))["weight"]
        assert int(mask.sum()) == kept
        assert int(mask[:, :, 1, 1].sum()) == min(kept, 8)


def test_grouped_convolutions_are_counted_group_by_group():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 2, groups=4, bias=False))
    masks = prune(model, "npb", 0.5, input_shape=SHAPE)
    assert masks["1.weight"].flatten(1).any(1).all()
    assert int(masks["1.weight"].sum()) >= 8


def test_a_transposed_convolution_is_counted_by_its_inputs():
    """Its weight is (in, out, *kernel): 2 of 3 inputs carry paths, and the budget goes to them alone."""
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ConvTranspose2d(3, 4, 2, stride=2, bias=False))
    masks = {"0.weight": torch.tensor([1.0, 0, 1]).view(3, 1, 1, 1)}
    paths = inputs_of(path_network(model), "1", masks, SHAPE)
    assert paths[:, :, 0, 0].tolist() == [[16] * 4, [0] * 4, [16] * 4]
    masks = prune(model, "npb", 0.5, input_shape=SHAPE)
    assert masks["1.weight"].flatten(1).any(1).tolist() == masks["0.weight"].flatten().tolist()
    grouped = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False))
    masks = prune(grouped, "npb", 0.6, input_shape=SHAPE)
    assert masks.kept == masks.total - round(0.6 * masks.total)
    by_output = masks["1.weight"].unflatten(0, (2, 2)).sum((1, 3, 4))
    assert (by_output > 0).all()


def test_rms_norm_leaves_paths_as_they_are():
    layers = [nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)]
    with_norm = nn.Sequential(layers[0], nn.RMSNorm(5), *layers[1:])
    mask = prune(with_norm, "npb", 0.6, input_shape=(6,))["0.weight"]
    paths = inputs_of(path_network(with_norm), "3", {"0.weight": mask.double()}, (6,))
    assert paths.tolist() == [mask.sum(1).tolist()] * 4
    assert mask.any()


@pytest.mark.parametrize("training", [True, False])
def test_attention_is_refused_in_one_clear_line(training):
    layer = nn.TransformerEncoderLayer(4, 2, 5, batch_first=True)
    model = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).train(training)
    with pytest.raises(AutosparseError, match=r"'npb' cannot count paths through attention \('layers.0.self_attn'\)"):
        prune(model, "npb", 0.5, input_shape=(3, 4))


def test_a_weight_two_layers_share_and_a_layer_never_called_are_pruned_too():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.never = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.two(self.one(x))

    masks = prune(Odd(), "npb", 0.6, input_shape=(5,))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"one.weight": 10, "never.weight": 10}


def test_a_very_deep_dense_network_does_not_overflow():
    model = nn.Sequential(*[nn.Linear(300, 300)] * 150, nn.Linear(300, 2))  # 300 ** 150 = 1e371 paths
    masks = prune(model, "npb", 0.001, input_shape=(300,))
    assert masks.kept == masks.total - round(masks.total * 0.001)


def test_more_paths_than_floats_hold_are_refused():
    model = nn.Sequential(*[nn.Linear(300, 300)] * 260, nn.Linear(300, 2))
    with pytest.raises(AutosparseError, match="1e600 paths"):
        prune(model, "npb", 0.001, input_shape=(300,))


def test_senseless_options_are_refused():
    with pytest.raises(AutosparseError, match=r"option 'alpha' of 'npb' must be a number in \[0, 1\], got 2"):
        score(make("linear"), "npb", sparsity=0.5, alpha=2, input_shape=SHAPE)
    with pytest.raises(AutosparseError, match="input_shape"):
        score(make("linear"), "npb", sparsity=0.5)


@pytest.mark.parametrize("net", NETS)
def test_the_model_is_left_as_it_was(net):
    model = make(net)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores = score(model, "npb", sparsity=0.8, input_shape=SHAPE)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert {n: s.shape for n, s in scores.items()} == {n: w.shape for n, w in prunable(model).items()}


class OwnAttention(nn.Module):
    """Attention over the rows of an image, written with ``product``."""

    def __init__(self, product):
        super().__init__()
        self.query, self.key, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.product = product

    def forward(self, x):
        x = x.squeeze(1)
        weights = self.product(self.query(x), self.key(x).transpose(1, 2)).softmax(-1)
        return self.head(self.product(weights, x).mean(1))


PRODUCTS = {
    "@": lambda a, b: a @ b,
    "matmul": torch.matmul,
    "bmm": torch.bmm,
    "einsum": lambda a, b: torch.einsum("nij,njk->nik", a, b),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_attention_is_refused_however_it_is_written(product):
    with pytest.raises(AutosparseError, match="cannot count paths through attention"):
        prune(OwnAttention(PRODUCTS[product]), "npb", 0.5, input_shape=SHAPE)


def test_a_product_with_a_weight_is_no_attention():
    class Own(nn.Linear):
        def forward(self, x):
            return x.flatten(1) @ self.weight.t() + self.bias

    assert prune(nn.Sequential(Own(16, 5), nn.Linear(5, 2)), "npb", 0.5, input_shape=SHAPE).total == 90
