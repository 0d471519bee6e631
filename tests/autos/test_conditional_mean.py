"""The conditional mean: it finds E[y | x] under noise, whatever the distribution of x, and is what its table says."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from threadpoolctl import threadpool_limits

from autosparse.autos import fit_scorer, load_scorer
from autosparse.autos.backbones.conditional_mean import NODES, ConditionalMean
from autosparse.autos.regression import Training
from autosparse.irp import Survival


def fitted(x, y):
    """A conditional mean of y (rows,) over x (rows, inputs)."""
    backbone = ConditionalMean(x.shape[1], seed=0)
    backbone.fit(x, y, Training(), seed=0)
    return backbone


def draw(rows, inputs, seed=0):
    return torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed))


def noise(rows, scale):
    return scale * draw(rows, 1, seed=1)[:, 0]


def bowl(x):
    """A smooth function with values between 0 and 1, of any number of inputs."""
    return (x**2).sum(1) / (1 + (x**2).sum(1))


def survival_of_bowl(rows, noise_scale=0.3, grad=None):
    x = draw(rows, 2)
    if grad is not None:
        x[:, 1] = grad
    score = (bowl(x) + noise(rows, noise_scale)).clamp(0, 1)
    return Survival({"w": x[:, 0]}, {"w": x[:, 1]}, {"w": (20 * score).round().int()}, {"iterations": 20})


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_smooth_function_is_found_under_noise_ten_times_the_tolerance(inputs):
    x = draw(100_000, inputs)
    predicted = fitted(x, bowl(x) + noise(100_000, 0.3))(fresh := draw(10_000, inputs, seed=2))
    inside = (fresh.abs() < 2.5).all(1)
    assert (predicted - bowl(fresh))[inside].abs().max() < 0.1
    assert (predicted - bowl(fresh))[inside].square().mean().sqrt() < 0.03


def test_heavy_tails_are_followed_as_far_as_there_are_rows():
    x = draw(100_000, 1) ** 5
    predicted = fitted(x, x[:, 0].abs().log1p())(torch.tensor([[-200.0], [0.5], [200.0]]))
    assert predicted.tolist() == pytest.approx([5.30, 0.41, 5.30], abs=0.25)


@pytest.mark.parametrize("inputs", [("param", "grad"), ("param",), ("grad",)])
def test_held_out_rows_are_explained_as_well_as_by_the_binned_mean(inputs):
    report = fit_scorer(survival_of_bowl(30_000), "conditional-mean", inputs).report
    assert report["held_out_r2"] > report["binned_mean_r2"] - 0.005 > 0.1
    assert report["warnings"] == []


@pytest.mark.parametrize("inputs", [1, 2])
def test_predictions_are_the_linear_interpolation_of_the_table(inputs):
    x = draw(5000, inputs)
    backbone = fitted(x, bowl(x))
    nodes, first = zip(*(np.unique(own, return_index=True) for own in backbone.nodes.numpy()), strict=True)
    reference = RegularGridInterpolator(nodes, backbone.table.numpy()[np.ix_(*first)].astype(float))
    inside = draw(5000, inputs, seed=2).clamp(backbone.nodes[:, 0], backbone.nodes[:, -1])
    assert np.allclose(backbone(inside), reference(inside.double().numpy()), atol=1e-5)


def test_values_beyond_the_fitted_range_count_as_its_ends():
    x = draw(5000, 2)
    backbone = fitted(x, x.sum(1))
    ends = torch.stack([x.min(0).values, x.max(0).values])
    assert torch.equal(backbone(torch.tensor([[-1e30, -torch.inf], [1e30, torch.inf]])), backbone(ends))


def test_what_is_not_a_number_is_predicted_as_such():
    backbone = fitted(x := draw(100, 2), x.sum(1))
    assert backbone(torch.tensor([[torch.nan, 0.0], [0.0, torch.nan]])).isnan().all()


def test_a_value_that_two_rows_in_five_share_has_nearly_its_own_mean():
    x = draw(20_000, 1)
    x[:8000] = 0.0  # e.g. gradients of weights behind an input that never changes
    backbone = fitted(x, (x[:, 0] != 0).float())
    assert backbone(torch.zeros(1, 1)).item() == pytest.approx(0, abs=0.1)
    assert backbone(torch.tensor([[-0.5], [0.5]])).tolist() == pytest.approx([1, 1], abs=0.1)


def test_a_constant_input_leaves_a_function_of_the_other():
    x = draw(20_000, 2)
    x[:, 1] = 0.0
    backbone = fitted(x, x[:, 0])
    assert backbone(torch.tensor([[1.0, 0.0], [1.0, 5.0], [1.0, -5.0]])).tolist() == pytest.approx([1] * 3, abs=0.02)


def test_a_constant_target_is_predicted_everywhere():
    predicted = fitted(draw(1000, 2), torch.full((1000,), 0.25))(draw(1000, 2, seed=2) * 100)
    assert torch.allclose(predicted, torch.tensor(0.25))


@pytest.mark.parametrize("rows", [2, 10, NODES - 1])
def test_fewer_rows_than_nodes_give_finite_predictions_within_reach_of_the_targets(rows):
    x = draw(rows, 2)
    predicted = fitted(x, bowl(x))(draw(1000, 2, seed=2))
    assert ((predicted > -0.5) & (predicted < 1.5)).all()


def test_the_same_rows_give_the_same_table_bit_for_bit_whatever_the_threads():
    x = draw(20_000, 2)
    target = bowl(x) + noise(20_000, 0.3)
    tables = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            tables.append(fitted(x, target).table)
        torch.set_num_threads(before)
    assert torch.equal(*tables)


@pytest.mark.parametrize("grad", [None, 0.0])
def test_a_saved_scorer_predicts_bit_for_bit_the_same(tmp_path, grad):
    scorer = fit_scorer(survival_of_bowl(2000, grad=grad), "conditional-mean")
    x = draw(1000, 2, seed=2)
    features = {"param": x[:, 0], "grad": x[:, 1]}
    loaded = load_scorer(scorer.save(tmp_path / "scorer"))
    assert torch.equal(loaded.predict(features), scorer.predict(features))
    assert loaded.report == scorer.report


def test_more_rows_than_a_chunk_are_scored_as_one_by_one():
    scorer = fit_scorer(survival_of_bowl(2000), "conditional-mean", ["param"])
    x = draw(ConditionalMean.chunk + 1000, 1, seed=2)[:, 0]
    assert torch.equal(scorer.predict({"param": x})[-1000:], scorer.predict({"param": x[-1000:]}))
