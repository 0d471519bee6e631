"""A small IRP run that knows where it comes from."""

import pytest

from autosparse.irp import rewind_prune
from autosparse.models import build_model
from autosparse.training import Recipe


@pytest.fixture(scope="session")
def run(digits):
    """LeNet-300-100 on digits, four iterations of one epoch; seed 5."""
    model = build_model("lenet-300-100", digits.num_classes, digits.input_shape, 5)
    survival = rewind_prune(
        model, digits, iterations=4, final_density=0.05, recipe=Recipe(epochs=1), seed=5, score_examples=300
    )
    survival.provenance["model"] = "lenet-300-100"
    return survival
