"""A fit on folders: what it refuses before it begins."""

import shutil

import pytest
import torch

from autosparse.errors import AutosparseError
from autosparse.experiment.tasks import FitSpec
from autosparse.irp import Survival, save_survival


def test_a_survival_dataset_is_not_fitted_on_twice_wherever_its_copies_lie(tmp_path):
    from autosparse.runner.fit import fit_on_folders

    weight = {"w": torch.zeros(3)}
    first = save_survival(Survival(weight, weight, {"w": torch.ones(3).int()}, {"iterations": 1}), tmp_path / "first")
    copy = shutil.copytree(first, tmp_path / "copy")
    with pytest.raises(AutosparseError, match=r"first and .*copy hold one survival dataset, .* leave one out"):
        fit_on_folders([first, copy], FitSpec(), tmp_path / "results", None, "scorers", None)
    assert not (tmp_path / "results").exists()
