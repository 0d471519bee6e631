"""Samples of weights for reports."""

import torch

from autosparse.autos import fit_scorer
from autosparse.data import load_dataset
from autosparse.irp import Survival
from autosparse.masks import prunable
from autosparse.models import build_model
from autosparse.runner.work.samples import states_sample


def test_a_layer_that_has_collapsed_has_no_rows_in_later_states():
    digits, draws = load_dataset("digits"), torch.Generator().manual_seed(0)
    model = build_model("lenet-300-100", 10, (1, 8, 8), 3)
    weights = {name: weight.detach() for name, weight in prunable(model).items()}
    grad = {name: torch.randn(w.shape, generator=draws) for name, w in weights.items()}
    survived = {name: torch.randint(1, 5, w.shape, generator=draws).int() for name, w in weights.items()}
    gone = list(weights)[-1]
    survived[gone].fill_(1)
    about = {
        "iterations": 4, "model": "lenet-300-100", "dataset": "digits", "seed": 3, "score_examples": 200,
        "dataset_fingerprint": digits.fingerprint, "gradient_mode": "eval",
    }  # fmt: skip
    survival, datasets = Survival(weights, grad, survived, about), {"digits": digits}
    scorer = fit_scorer(survival, "linear", ("log_param", "density"), rounds=2, datasets=datasets)
    rows = states_sample(scorer, survival, datasets, "cpu").to_pandas()
    assert set(rows.state[rows.layer == gone]) == {0, 1}
    assert set(rows.state) == {0, 1, 2, 3}
