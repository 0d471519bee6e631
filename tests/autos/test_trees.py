"""Boosted trees: what PyTorch walks is what scikit-learn grew."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from autosparse.autos import fit_scorer, load_scorer
from autosparse.autos.backbones.trees import DEPTH, LEAVES, TREES, Trees
from autosparse.autos.regression import Training
from autosparse.irp import Survival


def drawn(rows, inputs, seed=0):
    """Features with tails, ties and exact zeros, and a target that depends on pairs of them."""
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed)) ** 3
    x[:, 0] = x[:, 0].round(decimals=1)
    return x, (x[:, 0] * x[:, -1]).tanh() + x.abs().sum(1).log1p()


@pytest.mark.parametrize("inputs", [1, 2, 5])
def test_predictions_are_those_of_scikit_learn(inputs):
    x, y = drawn(20_000, inputs)
    ours = Trees(inputs, 0)
    ours.fit(x, y, Training(), seed=3)
    theirs = HistGradientBoostingRegressor(
        max_iter=TREES, max_leaf_nodes=LEAVES, max_depth=DEPTH, min_samples_leaf=200, early_stopping=False
    ).fit(x.numpy(), y.numpy())
    fresh = torch.cat([drawn(3_000, inputs, seed=1)[0], x[:3000], torch.full((1, inputs), 1e30)])
    assert ours(fresh).numpy() == pytest.approx(theirs.predict(fresh.numpy()), abs=1e-6)


def test_thresholds_between_two_floats_part_them_as_doubles_do():
    """Scikit-learn compares doubles; ours are float32, and no row may change sides."""
    one = np.float32(1.0)
    x = np.repeat([one, np.nextafter(one, np.float32(2))], 500)[:, None]
    grown = HistGradientBoostingRegressor(max_iter=1, min_samples_leaf=1).fit(x, (x[:, 0] > one).astype(float))
    ours = Trees(1, 0)
    ours.take(grown)
    assert ours(torch.from_numpy(x)).numpy() == pytest.approx(grown.predict(x), abs=1e-7)
    assert len(ours(torch.from_numpy(x)).unique()) == 2


def test_a_row_has_its_score_to_the_bit_whatever_is_around_it():
    x, y = drawn(5_000, 3)
    ours = Trees(3, 0)
    ours.fit(x, y, Training(), seed=0)
    assert torch.equal(ours(x)[17:18], ours(x[17:18]))


def test_a_constant_target_is_predicted():
    x = drawn(1_000, 2)[0]
    ours = Trees(2, 0)
    ours.fit(x, torch.full((1_000,), 0.25), Training(), seed=0)
    assert ours(x) == pytest.approx(0.25, abs=1e-7)


def test_a_scorer_of_trees_is_kept_without_pickle_and_loads_as_it_was(tmp_path):
    x, y = drawn(30_000, 2)
    counts = (20 * (y - y.min()) / (y.max() - y.min())).round().int()
    scorer = fit_scorer(Survival({"w": x[:, 0]}, {"w": x[:, 1]}, {"w": counts}, {"iterations": 20}), "trees")
    assert scorer.report["held_out_r2"] > 0.95
    loaded = load_scorer(scorer.save(tmp_path / "scorer"))
    features = {"param": x[:, 0], "grad": x[:, 1]}
    assert torch.equal(loaded.predict(features), scorer.predict(features))
    assert {path.name for path in (tmp_path / "scorer").iterdir()} == {"scorer.json", "scorer.safetensors"}
