"""The units' activations and gradients: exact where sums in float32 would not be, and in one pass with the gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autosparse.criteria.by_features import InRounds, prune_by_features
from autosparse.criteria.features import FEATURES
from autosparse.criteria.features.state import State
from autosparse.criteria.features.units import units_of
from autosparse.criteria.gradients import mean_gradient
from autosparse.criteria.seen import counting
from autosparse.masks import Masks


def mean_of_outputs(factor=1.0):
    """A loss whose derivatives are known: ``factor`` / number of outputs of an example."""
    return lambda out, _: factor * out.mean()


def on(x):
    """Two batches, of different sizes, of the examples ``x``."""
    y = torch.zeros(len(x), dtype=torch.long)
    return [(x[:5], y[:5]), (x[5:], y[5:])]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_a_channel_far_from_zero_keeps_its_spread_and_a_constant_one_has_none(offset):
    torch.manual_seed(0)
    x = torch.randn(12, 3, 8, 8) + offset
    x[:, 1] = -0.4242
    found = units_of(nn.Conv2d(3, 2, 3), on(x), mean_of_outputs())[0].activation["weight"]
    expected = x.double().movedim(1, 0).flatten(1).std(1, unbiased=False)
    assert found[1] == 0
    assert found[[0, 2]].numpy() == pytest.approx(expected[[0, 2]].numpy(), rel=1e-5)


@pytest.mark.parametrize("factor", [1.0, 1e-30, 1e25])
def test_derivatives_whose_squares_float32_cannot_hold(factor):
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 2, 3)
    found = units_of(layer, on(torch.randn(12, 3, 8, 8)), mean_of_outputs(factor))[0].gradient["weight"]
    positions = 36
    assert found.numpy() == pytest.approx(factor / (2 * positions) * positions**0.5, rel=1e-5)


def test_tokens_of_a_linear_layer_count_as_positions():
    torch.manual_seed(0)
    x = torch.randn(12, 7, 4)
    units = units_of(nn.Linear(4, 3), on(x), mean_of_outputs())[0]
    assert units.activation["weight"].numpy() == pytest.approx(x.double().flatten(0, 1).std(0, False).numpy(), rel=1e-5)
    assert units.gradient["weight"].numpy() == pytest.approx(7**0.5 / 21, rel=1e-5)


def test_no_derivative_comes_back_to_a_head_that_the_loss_does_not_read():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.unread = nn.Linear(4, 3), nn.Linear(4, 5)

        def forward(self, x):
            self.unread(x)
            return self.head(x)

    torch.manual_seed(0)
    units = units_of(TwoHeads(), on(torch.randn(12, 4)), mean_of_outputs())[0]
    assert units.gradient["unread.weight"].tolist() == [0.0] * 5
    assert (units.activation["unread.weight"] == units.activation["head.weight"]).all()
    assert (units.gradient["head.weight"] > 0).all()


def test_features_of_units_and_of_gradients_share_one_pass_and_change_nothing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    batches, passes = on(torch.randn(12, 2, 6, 6)), []

    class Counted:
        def __iter__(self):
            passes.append(1)
            return iter(batches)

    state = State(model, Masks.dense(model), Counted(), reads_units=True)
    columns = {
        name: FEATURES[name].compute(state, "0.weight") for name in ("log_grad", "activation", "output_gradient")
    }
    assert len(passes) == 1
    alone = State(model, Masks.dense(model), batches)
    assert all(torch.equal(FEATURES[name].compute(alone, "0.weight"), column) for name, column in columns.items())
    expected = mean_gradient(model, batches, F.cross_entropy)
    assert all(torch.equal(state.grad[name], value) for name, value in expected.items())


def test_a_round_of_pruning_by_both_sees_each_example_once():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    features = ("log_grad", "activation", "input_mass")

    def judge(name, number, columns):
        return sum(columns.values())

    with counting(model) as seen:
        prune_by_features(
            model, on(torch.randn(12, 3, 2, 2)), F.cross_entropy, 0.5, features, judge, InRounds(rounds=3), "a test"
        )
    assert seen.count == 3 * 12
