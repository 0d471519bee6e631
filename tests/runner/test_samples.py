"""Samples of weights for reports."""

from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from builders import lenet

from autosparse.autos import fit_scorer
from autosparse.data import load_dataset
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.irp import Survival
from autosparse.masks import prunable
from autosparse.report.figures_autos import survival_figure
from autosparse.results.samples import Sample
from autosparse.runner.work import irp
from autosparse.runner.work.samples import SAMPLE_PER_LAYER, states_sample
from autosparse.training import Recipe


def sample_of_states(iterations, collapsed=False):
    """A sample of a made-up IRP run on digits, as a data frame, and the name of the last layer.

    :param collapsed: whether the last layer is gone after the first iteration.
    """
    digits, draws = load_dataset("digits"), torch.Generator().manual_seed(0)
    model = lenet(3)
    weights = {name: weight.detach() for name, weight in prunable(model).items()}
    grad = {name: torch.randn(w.shape, generator=draws) for name, w in weights.items()}
    survived = {name: torch.randint(1, iterations + 1, w.shape, generator=draws).int() for name, w in weights.items()}
    last = list(weights)[-1]
    if collapsed:
        survived[last].fill_(1)
    about = {
        "iterations": iterations, "model": "lenet-300-100", "dataset": "digits", "seed": 3, "score_examples": 200,
        "dataset_fingerprint": digits.fingerprint, "gradient_mode": "eval",
    }  # fmt: skip
    survival, datasets = Survival(weights, grad, survived, about), {"digits": digits}
    scorer = fit_scorer(survival, "linear", ("log_param", "density"), rounds=2, datasets=datasets)
    return states_sample(scorer, survival, datasets, "cpu").to_pandas(), last


def test_a_layer_that_has_collapsed_has_no_rows_in_later_states():
    rows, gone = sample_of_states(4, collapsed=True)
    assert set(rows.state[rows.layer == gone]) == {0, 1}
    assert set(rows.state) == {0, 1, 2, 3}


@pytest.mark.parametrize(("iterations", "step"), [(4, 1), (11, 2), (20, 2)])
def test_a_sample_has_as_many_rows_whether_the_states_are_four_six_or_ten(iterations, step):
    rows, _ = sample_of_states(iterations)
    states = range(0, iterations, step)
    counts = rows.state.value_counts()
    each = SAMPLE_PER_LAYER * rows.layer.nunique() / len(states)
    assert set(counts.index) == set(states)
    assert (abs(counts - each) < 5 * each**0.5).all(), "drawn one by one, so a count scatters like a Poisson number"


def test_an_irp_run_ends_well_though_a_saliency_for_reports_cannot_be_computed(tmp_path, tiny_digits, monkeypatch):
    def score(model, name, batches):
        if name == "grasp":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(model, name, batches)

    whole, store = irp.score, Store(tmp_path)
    monkeypatch.setattr(irp, "score", score)
    task = IrpTask(model="lenet-300-100", dataset="digits", iterations=2, recipe=Recipe(epochs=1))
    result = irp.run_irp(task, store, tiny_digits, "cpu", lambda _: None)
    assert len(result["accuracy"]) == 2
    rows = pq.read_table(store.files_path("irp", task.id) / "sample.parquet")
    assert rows.column_names == ["layer", "position", "param", "grad", "survival", "snip"]


def test_the_figure_of_survival_leaves_out_a_saliency_that_the_sample_lacks():
    columns = {name: np.linspace(0, 1, 50) for name in ("param", "grad", "survival", "snip")}
    sample = Sample(["fc.weight"], np.zeros(50, int), np.arange(50), columns)
    figure = survival_figure(SimpleNamespace(iterations=4), sample)
    assert [axes.get_title() for axes in figure.axes] == ["(a) initial weight", "(b) SNIP"]
