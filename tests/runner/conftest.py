"""A scorer for all tests that need one."""

import pytest

from autosparse.autos import fit_scorer
from autosparse.irp import rewind_prune
from autosparse.models import build_model
from autosparse.training import Recipe


@pytest.fixture(scope="session")
def tiny_scorer(tiny_digits):
    """A scorer that was fitted on two iterations with the tiny digits."""
    model = build_model("lenet-300-100", 10, tiny_digits.input_shape, seed=100)
    survival = rewind_prune(model, tiny_digits, iterations=2, final_density=0.1, recipe=Recipe(epochs=1))
    return fit_scorer(survival, backbone="conditional-mean")
