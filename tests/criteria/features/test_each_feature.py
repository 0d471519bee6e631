"""Each feature of a weight against a computation of its own, one weight or unit at a time."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autosparse.criteria import prune, score
from autosparse.criteria.briefly import Steps, in_pieces
from autosparse.criteria.features import FEATURES
from autosparse.criteria.features.find import find_feature
from autosparse.criteria.features.layout import layouts
from autosparse.criteria.features.state import LEAST, State
from autosparse.criteria.features.units import units_of
from autosparse.criteria.rounds import masked
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

STEPS = Steps(3, lr=0.05, momentum=0.5, batch_size=8)


def network():
    """Convolutions with and without groups, one transposed, and linear layers, on inputs of shape (2, 6, 6)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2, stride=2), nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 2, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 3),
    )  # fmt: skip


def data():
    draws = torch.Generator().manual_seed(1)
    return [(torch.randn(n, 2, 6, 6, generator=draws), torch.randint(3, (n,), generator=draws)) for n in (16, 8)]


@pytest.fixture(scope="module")
def state():
    model = network()
    masks = prune(model, "random", 0.4, seed=3)
    with masked(model, masks):
        model.eval()
        yield State(model, masks, data(), steps=STEPS, pieces=in_pieces(data(), STEPS.batch_size))


def found(state, feature):
    """The feature's values, whole."""
    return {n: FEATURES[feature].compute(state, n).expand(mask.shape).double() for n, mask in state.masks.items()}


def close(values, expected):
    for name, value in expected.items():
        assert values[name].numpy() == pytest.approx(np.asarray(value), rel=1e-4, abs=1e-5), name


def gradient_of(model, batches):
    """The gradient of the mean loss over all examples."""
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    weights = prunable(model)
    return dict(zip(weights, torch.autograd.grad(F.cross_entropy(model(x), y), list(weights.values())), strict=True))


def relative_log(values, masks):
    left = torch.cat([values[name][mask].double() for name, mask in masks.items()])
    return {name: (v.double().abs() / left.square().mean().sqrt() + LEAST).log() for name, v in values.items()}


def signed_log(values, masks):
    left = torch.cat([values[name][mask].double() for name, mask in masks.items()])
    scaled = {name: v.double() / left.square().mean().sqrt() for name, v in values.items()}
    return {name: v.sign() * v.abs().log1p() for name, v in scaled.items()}


def test_values_and_gradients(state):
    g = gradient_of(state.model, data())
    theta = {name: weight.detach() for name, weight in prunable(state.model).items()}
    product = {name: theta[name] * g[name] for name in g}
    close(found(state, "param"), theta)
    close(found(state, "grad"), g)
    close(found(state, "log_grad"), relative_log(g, state.masks))
    close(found(state, "log_product"), relative_log(product, state.masks))
    close(found(state, "product"), signed_log(product, state.masks))
    fan_in = {"0.weight": 18, "2.weight": 18, "4.weight": 12, "7.weight": 36, "9.weight": 5}
    close(found(state, "log_param"), {n: (t.abs() * math.sqrt(fan_in[n]) + LEAST).log() for n, t in theta.items()})
    close(found(state, "fan_in"), {n: np.full(t.shape, math.log(fan_in[n])) for n, t in theta.items()})
    fan_out = {"0.weight": 36, "2.weight": 27, "4.weight": 8, "7.weight": 5, "9.weight": 3}
    close(found(state, "fan_out"), {n: np.full(t.shape, math.log(fan_out[n])) for n, t in theta.items()})


def test_what_is_left(state):
    close(found(state, "density"), {n: np.full(m.shape, math.log(state.masks.density)) for n, m in state.masks.items()})
    shares = {n: np.full(m.shape, math.log(m.double().mean())) for n, m in state.masks.items()}
    close(found(state, "layer_density"), shares)
    depths = {n: np.full(m.shape, i / 4) for i, (n, m) in enumerate(state.masks.items())}
    close(found(state, "depth"), depths)


def units_by_hand(name, shape):
    """Yield each entry of a weight, with the input that it reads and the output that it feeds."""
    groups = {"2.weight": 2, "4.weight": 2}.get(name, 1)
    for index in itertools.product(*map(range, shape)):
        if name == "4.weight":  # (in, out / groups, ...)
            yield index, index[0], index[1] + shape[1] * (index[0] // (shape[0] // groups))
        else:
            yield index, index[1] + shape[1] * (index[0] // (shape[0] // groups)), index[0]


@pytest.mark.parametrize("name", ["0.weight", "2.weight", "4.weight", "7.weight", "9.weight"])
def test_sums_over_units(state, name):
    theta, mask = state.theta[name].double(), state.masks[name]
    product = theta * gradient_of(state.model, data())[name].double()
    entries = list(units_by_hand(name, theta.shape))
    for side, prefix in ((1, "input"), (2, "output")):
        sums = {kind: {} for kind in ("left", "all", "strength", "mass")}
        for entry in entries:
            unit, index = entry[side], entry[0]
            for kind, value in (
                ("left", float(mask[index])), ("all", 1.0), ("strength", float(theta[index].abs())),
                ("mass", float(product[index].abs())),
            ):  # fmt: skip
                sums[kind][unit] = sums[kind].get(unit, 0.0) + value
        for kind in ("left", "strength", "mass"):
            mean = sum(sums[kind].values()) / len(sums[kind])
            values = FEATURES[f"{prefix}_{kind}"].compute(state, name).expand(theta.shape)
            for entry in entries:
                own = sums[kind][entry[side]]
                if kind == "left":
                    expected = math.log(max(own, 1) / sums["all"][entry[side]])
                else:
                    expected = math.log(own / mean + LEAST)
                assert float(values[entry[0]]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["0.weight", "2.weight", "4.weight", "7.weight", "9.weight"])
def test_activations_and_gradients_of_units_one_example_at_a_time(state, name):
    layer = state.model[int(name[0])]
    read, back = [], []
    for x, y in [(xs[i : i + 1], ys[i : i + 1]) for xs, ys in data() for i in range(len(xs))]:
        taken = {}
        handle = layer.register_forward_hook(lambda m, given, made, taken=taken: taken.update(x=given[0], y=made))
        loss = F.cross_entropy(state.model(x), y)
        handle.remove()
        (g,) = torch.autograd.grad(loss, taken["y"])
        read.append(
            taken["x"].detach()[0].flatten(1) if x.dim() == taken["x"].dim() else taken["x"].detach()[0][:, None]
        )
        back.append(g[0].flatten(1) if g.dim() > 2 else g[0][:, None])
    spread = torch.cat(read, 1).double().std(1, unbiased=False)
    returned = torch.stack([g.double().square().sum(1) for g in back]).mean(0).sqrt()
    for feature, values, side in (("activation", spread, 1), ("output_gradient", returned, 2)):
        expected = (values / values.square().mean().sqrt() + LEAST).log()
        own = FEATURES[feature].compute(state, name).expand(state.masks[name].shape)
        for entry in units_by_hand(name, state.masks[name].shape):
            assert float(own[entry[0]]) == pytest.approx(float(expected[entry[side]]), rel=1e-3, abs=1e-4)


def test_what_other_criteria_say(state):
    close(found(state, "hessian_gradient"), signed_log(score(state.model, "grasp", data(), mode="eval"), state.masks))
    flow = score(state.model, "synflow", input_shape=(2, 6, 6), sparsity=0.0, rounds=1)
    close(found(state, "synflow"), relative_log(flow, state.masks))
    each = [gradient_of(state.model, [batch]) for batch in data()]
    spread = {n: torch.stack([g[n].double() for g in each]).square().mean(0).sqrt() for n in each[0]}
    close(found(state, "fisher"), relative_log(spread, state.masks))


def test_after_a_few_steps(state):
    model = network()
    state.masks.apply_(model)
    before = {name: weight.detach().clone() for name, weight in prunable(model).items()}
    velocity = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    pieces = [piece for x, y in data() for piece in zip(x.split(8), y.split(8), strict=True)]
    for x, y in pieces[:3]:
        parameters = dict(model.named_parameters())
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(parameters.values()))
        with torch.no_grad():
            for (name, p), g in zip(parameters.items(), gradients, strict=True):
                velocity[name] = 0.5 * velocity[name] + g
                p -= 0.05 * velocity[name]
            state.masks.apply_(model)
    after, g = {name: w.detach().clone() for name, w in prunable(model).items()}, gradient_of(model, data())
    moved = {name: after[name] - before[name] for name in after}
    close(found(state, "trained"), relative_log(after, state.masks))
    close(found(state, "trained_grad"), relative_log(g, state.masks))
    close(found(state, "trained_product"), relative_log({n: after[n] * g[n] for n in g}, state.masks))
    close(found(state, "rewound_product"), relative_log({n: before[n] * g[n] for n in g}, state.masks))
    close(found(state, "moved"), relative_log(moved, state.masks))
    grown = {n: v * before[n].sign() for n, v in signed_log(moved, state.masks).items()}
    close(found(state, "grown"), grown)


@pytest.mark.parametrize("quantity", ["trained_product", "rewound_product", "movement", "product", "batch_gradients"])
def test_a_quantity_of_the_whole_network_is_computed_once_for_all_its_layers(state, quantity):
    assert getattr(state, quantity) is getattr(state, quantity)


def test_every_feature_is_finite_for_what_is_left_and_named_with_what_it_needs(state):
    for feature in FEATURES:
        for name, values in found(state, feature).items():
            assert values[state.masks[name]].isfinite().all(), (feature, name)
    assert all(FEATURES[name].needs <= {"data", "steps"} for name in FEATURES)
    assert all(FEATURES[name].summary for name in FEATURES)


def test_features_that_need_no_data_ask_for_none_and_others_say_what_is_missing():
    model = network()
    bare = State(model, Masks.dense(model))
    for name in FEATURES:
        if not FEATURES[name].needs:
            FEATURES[name].compute(bare, "0.weight")
    assert find_feature("magnitude").compute(bare, "0.weight").shape == model[0].weight.shape
    with pytest.raises(AutosparseError, match="pass batches"):
        FEATURES["grad"].compute(bare, "0.weight")
    with pytest.raises(AutosparseError, match="say how many steps"):
        FEATURES["moved"].compute(State(model, Masks.dense(model), data()), "0.weight")


def test_logs_do_not_change_with_the_scale_of_the_loss(state):
    tenfold = State(state.model, state.masks, data(), lambda out, y: 10 * F.cross_entropy(out, y))
    for feature in ("log_grad", "log_product", "product", "activation", "output_gradient", "input_mass", "fisher"):
        close(found(tenfold, feature), found(state, feature))


def test_the_model_is_left_as_it_was(state):
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    asked = State(model, Masks.dense(model), data(), steps=STEPS, pieces=in_pieces(data(), 8))
    for name in FEATURES:
        FEATURES[name].compute(asked, "0.weight")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_layers_that_share_a_weight_are_seen_together():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.other.weight = self.one.weight

        def forward(self, x):
            return self.head(self.other(self.one(x).relu()))

    torch.manual_seed(0)
    model, x, y = Twice(), torch.randn(6, 4), torch.randint(3, (6,))
    seen = units_of(model, [(x, y)], F.cross_entropy)[0].activation["one.weight"]
    read = torch.cat([x, model.one(x).relu()]).double()
    assert seen.numpy() == pytest.approx(read.std(0, unbiased=False).detach().numpy(), rel=1e-5)


def test_projections_of_attention_have_no_units_to_look_at():
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.Sequential(model, nn.Flatten(), nn.Linear(24, 3))
    batches = [(torch.randn(4, 3, 8), torch.randint(3, (4,)))]
    asked = State(model, Masks.dense(model), batches)
    assert FEATURES["input_mass"].compute(asked, "0.self_attn.in_proj_weight").shape == (1, 8)
    with pytest.raises(AutosparseError, match="features activation and output_gradient"):
        FEATURES["activation"].compute(asked, "0.self_attn.in_proj_weight")
    assert layouts(model)["0.self_attn.in_proj_weight"].units("output") == 24


def test_steps_that_make_the_loss_grow_are_taken_anew_at_half_the_rate():
    model, same = network(), [data()[1]]

    def stepped(lr):
        state = State(model, Masks.dense(model), same, steps=Steps(3, lr, 0.9, 8), pieces=in_pieces(same, 8))
        return state.stepped.theta, state.steps.lr

    found, lr = stepped(4096.0)
    assert 0 < lr < 4096
    assert (4096 / lr).is_integer()
    expected, own = stepped(lr)
    assert own == lr
    assert all(torch.equal(found[name], theta) for name, theta in expected.items())
    assert stepped(0.1)[1] == 0.1


def test_steps_that_never_get_better_are_refused_in_one_line():
    model = network()

    def worse(out, y):
        return torch.where(torch.tensor(next(calls) % 4 == 0), 1.0, torch.nan) + 0 * out.sum()

    calls = itertools.count()
    asked = State(model, Masks.dense(model), data(), worse, steps=Steps(4), pieces=in_pieces(data(), 8))
    with pytest.raises(
        AutosparseError, match=r"the 4 steps of training diverge: the loss becomes nan .*; take a smaller lr"
    ):
        FEATURES["trained"].compute(asked, "0.weight")


def test_what_is_left_of_an_empty_unit_or_layer_counts_as_one_weight():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    first = torch.ones(3, 4, dtype=torch.bool)
    first[1], first[:, 2] = False, False
    state = State(model, Masks({"0.weight": first, "2.weight": torch.zeros(2, 3)}))
    rows, columns = first.sum(1), first.sum(0)
    left = {name: FEATURES[name].compute(state, "0.weight") for name in ("output_left", "input_left", "layer_density")}
    assert torch.equal(left["output_left"], (rows.clamp(min=1).float() / 4).log()[:, None])
    assert torch.equal(left["input_left"], (columns.clamp(min=1).float() / 3).log()[None])
    assert torch.equal(left["layer_density"], first.float().mean().log())
    assert FEATURES["layer_density"].compute(state, "2.weight").item() == pytest.approx(math.log(1 / 6))


@pytest.mark.parametrize("feature", ["input_left", "output_left", "layer_density"])
def test_revival_goes_on_after_a_unit_or_a_layer_is_empty(feature):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[2].weight.mul_(1e-3)  # the first to go
    batches = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))]
    masks = prune(model, "formula", 0.9, batches, expression=f"log_param + 0.01 * {feature}", rounds=4, revive=True)
    assert masks.kept == 4
