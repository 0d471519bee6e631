"""Cells in this process: what ablations change. That every criterion works is for the smoke grid."""

from autosparse.data import load_dataset
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.runner.cells import run_cell
from autosparse.training import Recipe


def masks_of(tmp_path, **changes):
    """Densities and accuracy of a magnitude cell with ``changes``."""
    cell = Cell(
        model="lenet-300-100",
        dataset="digits",
        criterion="magnitude",
        sparsity=0.8,
        seed=0,
        recipe=Recipe(epochs=3, lr=2e-3),
        **changes,
    )
    return run_cell(cell, Store(tmp_path), load_dataset("digits"), "cpu")


def test_shuffle_and_reinit_keep_the_layer_densities_and_train_another_network(tmp_path):
    plain, shuffled, fresh = (masks_of(tmp_path, ablation=a) for a in (None, "shuffle", "reinit"))
    assert plain["density_by_layer"] == shuffled["density_by_layer"] == fresh["density_by_layer"]
    losses = {result["history"]["train_loss"][0] for result in (plain, shuffled, fresh)}
    assert len(losses) == 3


def test_invert_prunes_the_highest_scores(tmp_path):
    plain, inverted = (masks_of(tmp_path, ablation=a) for a in (None, "invert"))
    assert inverted["kept"] == plain["kept"]
    assert inverted["density_by_layer"]["fc2.weight"] > plain["density_by_layer"]["fc2.weight"]


def test_criteria_that_set_the_weights_train_what_they_set(tmp_path):
    cells = {
        name: Cell(
            model="lenet-300-100",
            dataset="digits",
            criterion=name,
            sparsity=0.8,
            seed=0,
            recipe=Recipe(epochs=1, lr=2e-3),
        )
        for name in ("3sp", "3sp-reinit", "3sp-rescale")
    }
    results = [run_cell(cell, Store(tmp_path), load_dataset("digits"), "cpu") for cell in cells.values()]
    assert results[0]["density_by_layer"] == results[1]["density_by_layer"] == results[2]["density_by_layer"]
    assert len({result["history"]["train_loss"][0] for result in results}) == 3
