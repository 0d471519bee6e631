"""Branches: masks of an IRP run over its initial weights, bit for bit, and their ablations."""

import pytest
import torch
from builders import a_cell

from autosparse.autos import load_scorer
from autosparse.errors import AutosparseError
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpFields
from autosparse.irp import load_survival
from autosparse.masks import prunable
from autosparse.models import build_model
from autosparse.runner.work.cells import Scored, _pruned, run_cell
from autosparse.runner.work.irp import run_irp
from autosparse.training import Execution, Recipe, train

RUN = IrpFields(
    model="lenet-300-100", dataset="digits", iterations=4, final_density=0.05, init=100, recipe=Recipe(epochs=1)
)


def branch(level=2, seed=3, **changes):
    return a_cell(
        criterion="irp",
        irp=RUN,
        irp_seed=5,
        level=level,
        sparsity=RUN.sparsity_at(level),
        seed=seed,
        recipe=Recipe(epochs=2),
        **changes,
    )


@pytest.fixture(scope="module")
def store_with_trunk(tmp_path_factory, tiny_digits):
    """A storage with the IRP run that the cells branch from."""
    store = Store(tmp_path_factory.mktemp("branches"))
    run_irp(branch().trunk, store, tiny_digits, "cpu", lambda numbers: None)
    return store


@pytest.fixture(scope="module")
def trunk_survival(store_with_trunk):
    return load_survival(store_with_trunk.files_path("irp", branch().trunk.id) / "survival")


def start_of(cell, store, dataset):
    return _pruned(cell, dataset, "cpu", Execution(), Scored(store, scorer_of=load_scorer))


@pytest.mark.parametrize("level", [0, 1, 2, 4])
def test_a_branch_starts_from_the_masks_and_all_initial_values_of_its_run(
    level, store_with_trunk, trunk_survival, tiny_digits
):
    start = start_of(branch(level), store_with_trunk, tiny_digits)
    assert start.masks == trunk_survival.masks(level)
    assert start.masks.kept == start.masks.total - round(start.masks.total * branch(level).sparsity)
    assert all(torch.equal(w, trunk_survival.param[name]) for name, w in prunable(start.model).items())
    original = build_model("lenet-300-100", 10, tiny_digits.input_shape, seed=100).state_dict()
    assert all(torch.equal(value, original[name]) for name, value in start.model.state_dict().items())


def test_the_cell_s_seed_is_that_of_the_training(store_with_trunk, trunk_survival, tiny_digits):
    result = run_cell(branch(), store_with_trunk, tiny_digits, "cpu")
    model = build_model("lenet-300-100", 10, tiny_digits.input_shape, seed=100)
    history = train(model, tiny_digits, Recipe(epochs=2), trunk_survival.masks(2), seed=3)
    assert result["history"] == {"train_loss": history.train_loss, "test_accuracy": history.test_accuracy}
    assert result["sparsity"] == trunk_survival.masks(2).sparsity


def test_a_shuffled_branch_keeps_layer_densities_and_weights(store_with_trunk, trunk_survival, tiny_digits):
    start = start_of(branch(ablation="shuffle"), store_with_trunk, tiny_digits)
    assert start.masks == trunk_survival.masks(2).shuffled(3) != trunk_survival.masks(2)
    assert start.masks.density_by_layer() == trunk_survival.masks(2).density_by_layer()
    assert all(torch.equal(w, trunk_survival.param[name]) for name, w in prunable(start.model).items())


def test_a_reinitialised_branch_keeps_the_masks_alone(store_with_trunk, trunk_survival, tiny_digits):
    starts = [start_of(branch(seed=seed, ablation="reinit"), store_with_trunk, tiny_digits) for seed in (3, 4)]
    assert all(start.masks == trunk_survival.masks(2) for start in starts)
    first, second = (prunable(start.model) for start in starts)
    assert not any(
        torch.equal(w, trunk_survival.param[name]) or torch.equal(w, second[name]) for name, w in first.items()
    )


def test_a_run_of_other_initial_weights_is_refused(store_with_trunk, tiny_digits, tmp_path):
    cell = branch().model_copy(update={"irp_seed": 6})
    wrong = Store(tmp_path).files_path("irp", cell.trunk.id)
    wrong.parent.mkdir()
    other = RUN.model_copy(update={"init": 101})
    made = branch().model_copy(update={"irp": other}).trunk
    run_irp(made, Store(tmp_path), tiny_digits, "cpu", lambda numbers: None)
    Store(tmp_path).files_path("irp", made.id).rename(wrong)
    with pytest.raises(AutosparseError, match="does not start from the weights of IRP run"):
        run_cell(cell, Store(tmp_path), tiny_digits, "cpu")
