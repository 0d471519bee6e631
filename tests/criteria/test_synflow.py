"""SynFlow: path products by hand, conservation, no collapse, no data."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_nets import NETS, data, make
from torch import nn

from autosparse.analysis import effective_masks
from autosparse.criteria import prune, score
from autosparse.errors import AutosparseError
from autosparse.masks import prunable


def test_a_weight_scores_the_sum_over_its_paths_of_the_products_of_absolute_weights():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    model[2].weight.data = torch.tensor([[-5.0, 6.0]])
    scores = score(model, "synflow", sparsity=0.0, rounds=1, input_shape=(2,))
    assert scores["0.weight"].tolist() == [[1 * 5, 2 * 5], [3 * 6, 4 * 6]]
    assert scores["2.weight"].tolist() == [[(1 + 2) * 5, (3 + 4) * 6]]


def test_flow_into_a_unit_equals_flow_out_of_it():
    model = nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    scores = score(model, "synflow", sparsity=0.0, rounds=1, input_shape=(5,))
    assert torch.allclose(scores["0.weight"].sum(1), scores["2.weight"].sum(0), rtol=1e-12)


def test_flow_through_a_channel_is_conserved_between_convolutions():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1, bias=False)
    )
    scores = score(model, "synflow", sparsity=0.0, rounds=1, input_shape=(1, 6, 6))
    assert torch.allclose(scores["0.weight"].sum((1, 2, 3)), scores["2.weight"].sum((0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("net", sorted(NETS.keys() - {"linear"}))  # whose tanh scales the flow
def test_every_cut_through_the_network_carries_the_whole_flow(net):
    """Tanaka et al., theorem 2, also past BatchNorm and a shortcut; biases would add flow on the way."""
    model = make(net)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    scores = list(score(model, "synflow", sparsity=0.0, rounds=1, input_shape=(1, 4, 4)).values())
    assert scores[0].sum() > 0
    assert torch.allclose(scores[0].sum(), scores[-1].sum(), rtol=1e-12)


@pytest.mark.parametrize("net", NETS)
def test_rounds_equal_a_loop_by_hand(net):
    network = make(net).eval()
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.copy_(tensor.abs())
    weights = prunable(network)
    alive = torch.ones(sum(w.numel() for w in weights.values()), dtype=torch.bool)
    for i in range(1, 6):
        flow = torch.autograd.grad(network(torch.ones(1, 1, 4, 4, dtype=torch.float64)).sum(), list(weights.values()))
        flat = torch.cat([(w.detach() * g).flatten() for w, g in zip(weights.values(), flow, strict=True)])
        flat[~alive] = -1
        keep = len(flat) - round(len(flat) * (0.85 if i == 5 else 1 - 0.15 ** (i / 5)))
        alive = torch.zeros_like(alive)
        alive[flat.argsort(descending=True, stable=True)[:keep]] = True
        for weight, mask in zip(weights.values(), alive.split([w.numel() for w in weights.values()]), strict=True):
            weight.data *= mask.view_as(weight)
    masks = prune(make(net), "synflow", 0.85, input_shape=(1, 4, 4), rounds=5)
    assert torch.equal(torch.cat([mask.flatten() for mask in masks.values()]), alive)


@pytest.mark.parametrize("net", NETS)
def test_no_layer_collapses_where_every_layer_could_keep_a_weight(net):
    masks = prune(make(net), "synflow", 0.9, data())
    assert masks.collapsed_layers() == []


def test_one_path_is_left_at_the_critical_compression():
    model = nn.Sequential(*(nn.Linear(6, 6, bias=False) for _ in range(4)))
    masks = prune(model, "synflow", 1 - 4 / 144, input_shape=(6,))
    assert masks.kept == 4
    assert [int(mask.sum()) for mask in masks.values()] == [1, 1, 1, 1]
    path = [mask.nonzero()[0].tolist() for mask in masks.values()]
    assert all(path[i][0] == path[i + 1][1] for i in range(3))


@given(widths=st.lists(st.integers(2, 8), min_size=3, max_size=5), kept=st.integers(0, 30), seed=st.integers(0, 1000))
def test_no_layer_collapses_down_to_one_weight_per_layer(widths, kept, seed):
    """Maximal critical compression (Tanaka et al., section 3): while a path could be left, one is."""
    draws = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, generator=draws)
    total = sum(layer.weight.numel() for layer in layers)
    kept = min(len(layers) + kept, total - 1)
    masks = prune(nn.Sequential(*layers), "synflow", 1 - kept / total, input_shape=(widths[0],))
    assert masks.kept == kept
    assert masks.collapsed_layers() == []


def test_the_data_do_not_matter():
    other = [(x + 100, y) for x, y in data(seed=9)]
    assert prune(make("conv"), "synflow", 0.8, data()) == prune(make("conv"), "synflow", 0.8, other)


def test_a_deep_float32_network_does_not_overflow():
    layers = [nn.Linear(50, 50, bias=False) for _ in range(20)]
    for layer in layers:
        nn.init.constant_(layer.weight, 10.0)
    scores = score(nn.Sequential(*layers), "synflow", sparsity=0.5, rounds=1, input_shape=(50,))
    assert all(s.dtype == torch.float64 and not s.isnan().any() and s.max() < torch.inf for s in scores.values())


class Block(nn.Module):
    """ConvNeXt's block, with a scale that does not hide it."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.project(nn.functional.gelu(self.expand(y))).permute(0, 3, 1, 2)


class SmallConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 2, stride=2)
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x)).mean((2, 3))))


def normalised(norm):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 4), norm(4), nn.ReLU(), nn.Linear(4, 4), norm(4), nn.Linear(4, 2)).double()


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm, lambda width: nn.GroupNorm(1, width)])
def test_through_a_norm_over_units_scores_are_the_sizes_of_finite_differences(norm):
    model = normalised(norm)
    scores = score(model, "synflow", sparsity=0.0, rounds=1, input_shape=(5,))
    network = normalised(norm).requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.abs_()

    def total():
        return float(network(torch.ones(1, 5, dtype=torch.float64)).sum())

    signs = set()
    for name, weight in prunable(network).items():
        expected = torch.empty_like(weight)
        for i, value in enumerate(weight.flatten().tolist()):
            change = []
            for step in (1e-6, -1e-6):
                weight.view(-1)[i] = value + step
                change.append(total())
            weight.view(-1)[i] = value
            flow = value * (change[0] - change[1]) / 2e-6
            signs.add(flow < -1e-6)
            expected.view(-1)[i] = abs(flow)
        assert torch.allclose(scores[name], expected, rtol=1e-4, atol=1e-7), name
    assert signs == {True, False}  # else the absolute value is not tested


@pytest.mark.parametrize("model", [SmallConvNeXt, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 32), *tail())])
def test_paths_are_left_through_a_norm_over_units(model):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model()
    masks = prune(model, "synflow", 0.9, input_shape=(1, 4, 4))
    assert masks.collapsed_layers() == []
    assert effective_masks(model, masks, (1, 4, 4)).kept > 0.5 * masks.kept


def tail():
    for _ in range(3):
        yield from (nn.RMSNorm(32), nn.ReLU(), nn.Linear(32, 32))


def test_neither_shape_nor_data_is_refused():
    with pytest.raises(AutosparseError, match="input_shape"):
        score(make("linear"), "synflow", sparsity=0.5)
