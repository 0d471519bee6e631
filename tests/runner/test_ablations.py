"""Every ablation of every method that takes it: what it keeps, and what it changes."""

import pytest
from few_rounds import cell_of_few_rounds

from autosparse.criteria import CRITERIA
from autosparse.errors import AutosparseError
from autosparse.experiment.methods import check_ablation
from autosparse.experiment.store import Store
from autosparse.runner.work.cells import run_cells
from autosparse.training import Recipe


@pytest.fixture(scope="module")
def store_with_scorer(tmp_path_factory, tiny_scorer):
    store = Store(tmp_path_factory.mktemp("ablations"))
    tiny_scorer.save(store.files_path("scorer", "some") / "scorer")
    return store


def accepted(name, ablation):
    try:
        check_ablation(name, ablation)
    except AutosparseError:
        return False
    return True


def results_by_ablation(name, ablations, store, dataset):
    ablated = {"sparsity": 0.8, "recipe": Recipe(epochs=1)}
    cells = [cell_of_few_rounds(name, ablation=ablation, **ablated) for ablation in (None, *ablations)]
    done = [pair for pack in run_cells(cells, store, dataset, "cpu") for pair in pack]
    return {cell.ablation: result for cell, result in done}


@pytest.mark.parametrize("name", list(CRITERIA))
def test_ablations_keep_what_they_promise(name, store_with_scorer, tiny_digits):
    ablations = [ablation for ablation in ("shuffle", "reinit", "invert") if accepted(name, ablation)]
    found = results_by_ablation(name, ablations, store_with_scorer, tiny_digits)
    plain = found.pop(None)
    losses = {plain["history"]["train_loss"][0]}
    for ablation, result in found.items():
        losses.add(result["history"]["train_loss"][0])
        assert result["kept"] == plain["kept"]
        assert (result["mask_sketch"] == plain["mask_sketch"]) == (ablation == "reinit")
        assert ablation == "invert" or result["density_by_layer"] == plain["density_by_layer"]
    assert len(losses) == 1 + len(ablations)


@pytest.mark.parametrize("name", ["lth", "ltr", "snip-iter", "magnitude-after-training"])
def test_references_that_train_take_shuffle_and_reinit(name):
    assert accepted(name, "shuffle")
    assert accepted(name, "reinit")
