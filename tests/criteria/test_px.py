"""PX: sums over paths written out, the gates of the data, and networks that hold more than ReLU-like units."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from attention_nets import make as attention_net
from hypothesis import assume, given
from hypothesis import strategies as st
from small_nets import data, highest, make
from torch import nn

from autosparse.criteria import prune, score
from autosparse.criteria.gates import Gates
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

ONE_ROUND = {"sparsity": 0.0, "rounds": 1}


def mlp(*widths, seed=0):
    draws = torch.Generator().manual_seed(seed)
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, bias=False), nn.ReLU()]
        nn.init.normal_(layers[-2].weight, generator=draws)
    return nn.Sequential(*layers[:-1]).double()


def by_paths(model, x):
    """theta^2 dR / d theta^2 by going along every path of a network of three Linear layers."""
    a, b, c = (model[i].weight.detach() for i in (0, 2, 4))
    first = (x @ a.T > 0).double()
    second = (x @ a.T).clamp(min=0) @ b.T > 0
    found = [torch.zeros_like(w) for w in (a, b, c)]
    for out in range(len(c)):
        paths = list(itertools.product(range(a.shape[1]), range(len(a)), range(len(b))))
        of_data = sum(x[:, i] ** 2 * first[:, h] * second[:, k] for i, h, k in paths).sum()
        for i, h, k in paths:
            value = (a[h, i] * b[k, h] * c[out, k]) ** 2 * of_data
            for scores, place in zip(found, ((h, i), (k, h), (out, k)), strict=True):
                scores[place] += value
    return found


@given(st.integers(0, 1000))
def test_scores_are_the_sums_over_the_paths_through_a_weight(seed):
    model = mlp(3, 4, 3, 2, seed=seed)
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    by_hand = by_paths(model, x)
    assume(any(layer.any() for layer in by_hand))  # a network without an active path is refused
    scores = score(model, "px", [(x, torch.zeros(5))], **ONE_ROUND)
    for found, expected in zip(scores.values(), by_hand, strict=True):
        assert torch.allclose(found, expected)


def test_four_weights_by_hand():
    """x = (1, 2): only the second unit is active, so the output's sum of squared inputs over active paths is 1 + 4."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    model[0].weight.data = torch.tensor([[1.0, -2.0], [3.0, 4.0]]).double()
    model[2].weight.data = torch.tensor([[-5.0, 6.0]]).double()
    scores = score(model, "px", [(torch.tensor([[1.0, 2.0]]).double(), torch.zeros(1))], **ONE_ROUND)
    assert scores["0.weight"].tolist() == [[5 * 1 * 25, 5 * 4 * 25], [5 * 9 * 36, 5 * 16 * 36]]
    assert scores["2.weight"].tolist() == [[5 * (1 + 4) * 25, 5 * (9 + 16) * 36]]


def of_conv(model, x):
    """The convolutional network written out with functions; its biases are no part of a path."""
    w, head = (weight.detach() for weight in prunable(model).values())
    active = (F.conv2d(x, w, model[0].bias) > 0).double()
    kept, kept_head = (w != 0).double(), (head != 0).double()
    of_data = (F.conv2d(x**2, kept) * active).flatten(1) @ kept_head.T
    squares = [(w**2).requires_grad_(), (head**2).requires_grad_()]
    of_weights = F.conv2d(torch.ones_like(x[:1]), squares[0]).flatten(1) @ squares[1].T
    flow = torch.autograd.grad((of_data * of_weights).sum(), squares)
    return {name: (s * g).detach() for name, s, g in zip(prunable(model), squares, flow, strict=True)}


def test_rounds_take_the_next_batch_each_and_equal_a_loop_by_hand():
    model, batches = make("conv"), data()
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
    for i in range(1, 6):
        saliency = of_conv(model, batches[(i - 1) % len(batches)][0])
        masks = highest(saliency, masks, 0.8 if i == 5 else 1 - 0.2 ** (i / 5))
        for name, weight in prunable(model).items():
            weight.data *= masks[name]
    assert prune(make("conv"), "px", 0.8, batches, rounds=5) == Masks(masks)


def test_labels_and_loss_do_not_matter():
    def no_loss(logits, y):
        raise RuntimeError

    relabelled = [(x, 3 - y) for x, y in data()]
    masks = prune(make("conv"), "px", 0.7, data(), rounds=3)
    assert masks == prune(make("conv"), "px", 0.7, relabelled, no_loss, rounds=3)


@given(st.floats(0, 0.98))
def test_the_sparsity_is_met_to_the_weight(sparsity):
    masks = prune(make("residual with batchnorm"), "px", sparsity, data(1), rounds=2)
    assert masks.kept == masks.total - round(masks.total * sparsity)


@pytest.mark.parametrize("unit", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.Hardtanh(0.0, 9.0)])
def test_relu_like_units_are_linear_once_their_gates_are_held(unit):
    model = nn.Sequential(nn.Linear(4, 6, bias=False), unit, nn.Linear(6, 3, bias=False)).double()
    x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = nn.Sequential(model[0], nn.ReLU(), model[2])
    scores, expected = (score(net, "px", [(x, torch.zeros(7))], **ONE_ROUND) for net in (model, plain))
    assert all(torch.equal(scores[name], expected[name]) for name in scores)


@pytest.mark.parametrize(
    "bounds", [((-2.0,), {}), ((-2.0, 1.0), {}), ((), {"min_val": -2.0}), ((-2.0,), {"max_val": 1})]
)
def test_the_bounds_of_hardtanh_may_be_given_by_position_and_by_name(bounds):
    gates, x = Gates(), torch.tensor([-3.0, -1.5, 0.5, 1.5])
    with gates.recording():
        F.hardtanh_(x, *bounds[0], **bounds[1])
    assert gates.active[0].tolist() == [False, True, True, False]


@pytest.mark.parametrize("net", ["attention", "transformer"])
def test_attention_cannot_be_linearised(net):
    with pytest.raises(AutosparseError, match=r"criterion 'px' cannot linearise (Attention|Encoder): .* take another"):
        prune(attention_net(net), "px", 0.5, data())


@pytest.mark.parametrize("unit", [nn.Tanh(), nn.GELU(), nn.SiLU(), nn.LayerNorm(6), nn.GroupNorm(2, 6), nn.Softmax(1)])
def test_other_units_cannot_be_linearised(unit):
    model = nn.Sequential(nn.Linear(16, 6), unit, nn.Linear(6, 4)).double()
    batches = [(x.flatten(1), y) for x, y in data()]
    with pytest.raises(AutosparseError, match="cannot linearise Sequential"):
        prune(model, "px", 0.5, batches)


class Bent(nn.Module):
    """Two layers with any function between them."""

    def __init__(self, function):
        super().__init__()
        self.first, self.function, self.last = nn.Linear(16, 6), function, nn.Linear(6, 4)

    def forward(self, x):
        return self.last(self.function(self.first(x)))


@pytest.mark.parametrize(
    "function",
    [
        nn.PReLU(),
        lambda x: x.clamp(min=0),
        lambda x: torch.maximum(x, torch.zeros_like(x)),
        lambda x: nn.functional.threshold(x, 0.0, 0.0),
        torch.abs,
        lambda x: torch.where(x > 0, x, 0 * x),
        lambda x: x * (x > 0),
        lambda x: x * (x.sign() + 1) / 2,
    ],
    ids=["prelu", "clamp", "maximum", "threshold", "abs", "where", "comparison", "sign"],
)
def test_functions_that_bend_and_still_double_are_refused(function):
    batches = [(x.flatten(1), y) for x, y in data()]
    with pytest.raises(AutosparseError, match="cannot linearise Bent"):
        prune(Bent(function).double(), "px", 0.5, batches)


class Between(nn.Module):
    """Two layers with ``bend`` between them, which may work in place."""

    def __init__(self, bend):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(16, 12), nn.Linear(12, 3)
        self.bend = bend

    def forward(self, x):
        h = self.first(x.flatten(1))
        bent = self.bend(h)
        return self.last(h if bent is None else bent)


IN_PLACE = {
    "relu_": lambda h: (h.relu_(), None)[1],
    "F.relu(inplace)": lambda h: (F.relu(h, inplace=True), None)[1],
    "F.relu, by position": lambda h: (F.relu(h, True), None)[1],
}


@pytest.mark.parametrize("way", IN_PLACE)
def test_units_that_work_in_place_are_held_also_if_nobody_takes_what_they_return(way):
    batches = [(torch.randn(8, 1, 4, 4, dtype=torch.float64), torch.zeros(8, dtype=torch.long))]
    expected = score(Between(torch.relu).double(), "px", batches, **ONE_ROUND)
    found = score(Between(IN_PLACE[way]).double(), "px", batches, **ONE_ROUND)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_the_larger_of_two_tensors_bends_and_is_refused():
    batches = [(torch.randn(8, 1, 4, 4), torch.zeros(8, dtype=torch.long))]
    with pytest.raises(AutosparseError, match="more than ReLU-like units"):
        score(Between(lambda h: torch.max(h, torch.zeros_like(h))), "px", batches, **ONE_ROUND)
