"""A fit on folders: what it refuses before it begins, and what it finds done."""

import shutil
from dataclasses import replace

import pytest
import torch

from autosparse.autos import load_scorer
from autosparse.data import load_dataset
from autosparse.errors import AutosparseError
from autosparse.experiment.tasks import FitSpec
from autosparse.irp import Survival, save_survival
from autosparse.models import build_model
from autosparse.runner.driver.fit_folders import fit_on_folders
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings


def test_a_survival_dataset_is_not_fitted_on_twice_wherever_its_copies_lie(tmp_path):
    weight = {"w": torch.zeros(3)}
    first = save_survival(Survival(weight, weight, {"w": torch.ones(3).int()}, {"iterations": 1}), tmp_path / "first")
    copy = shutil.copytree(first, tmp_path / "copy")
    with pytest.raises(AutosparseError, match=r"first and .*copy hold the same survival dataset, .* give only one"):
        fit_on_folders([first, copy], FitSpec(), "scorers", Settings(tmp_path / "results"), None)
    assert not (tmp_path / "results").exists()


@pytest.fixture
def made():
    """Survival data that say where they come from."""
    param = {
        name: own.detach().clone()
        for name, own in build_model("lenet-300-100", 10, (1, 8, 8), 0).named_parameters()
        if own.dim() > 1
    }
    count = {name: (own.abs() * 20).clamp(max=2).int() for name, own in param.items()}
    about = {
        "iterations": 2, "model": "lenet-300-100", "dataset": "digits", "seed": 0, "score_examples": 100,
        "dataset_fingerprint": load_dataset("digits").fingerprint, "gradient_mode": "eval",
    }  # fmt: skip
    return Survival(param, {name: torch.zeros_like(own) for name, own in param.items()}, count, about)


def test_a_scorer_for_rounds_is_fitted_on_the_data_that_the_runs_name_and_then_found(tmp_path, made, empty_store):
    spec = FitSpec(backbone="linear", inputs=("log_param", "activation"), rounds=3)
    folder = save_survival(made, tmp_path / "irp")
    given = [folder], spec, "scorers", Settings(tmp_path / "results", empty_store(tmp_path)), Screen()
    scorer, record = fit_on_folders(*given, "cpu")
    assert record["spec"]["dataset"] == "digits"
    assert record["result"]["dataset_fingerprint"] == load_dataset("digits").fingerprint
    assert load_scorer(scorer).in_rounds.rounds == 3
    assert fit_on_folders(*given, "cpu")[1]["ended_ms"] == record["ended_ms"]


def test_runs_on_two_data_sets_make_no_scorer_for_rounds(tmp_path, made):
    other = replace(made, provenance=made.provenance | {"dataset": "mnist"})
    folders = [save_survival(own, tmp_path / name) for name, own in (("a", made), ("b", other))]
    spec = FitSpec(backbone="linear", inputs=("log_param",), rounds=3)
    with pytest.raises(AutosparseError, match="is fitted on one data set, these IRP runs are on digits, mnist"):
        fit_on_folders(folders, spec, "scorers", Settings(tmp_path / "results"), None, "cpu")
