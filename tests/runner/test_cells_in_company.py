"""What a cell starts its training from is its own affair, whatever cells its job did before."""

import pytest
import torch
from few_rounds import cell_of_few_rounds

from autosparse.criteria import CRITERIA
from autosparse.errors import AutosparseError
from autosparse.experiment.fields import BRANCH, DENSE
from autosparse.experiment.methods import check_ablation
from autosparse.experiment.store import Store
from autosparse.runner.work import cells as module
from autosparse.runner.work.cells import Scored, _pruned
from autosparse.training import Execution, Recipe

SPARSITIES = (0.2, 0.3)


def ablated(name, ablation, sparsity):
    return cell_of_few_rounds(name, ablation=ablation, sparsity=sparsity, recipe=Recipe(epochs=2))


def accepted(name):
    """The ablations that a criterion takes, and none."""
    found = [None]
    for ablation in ("shuffle", "reinit", "invert"):
        try:
            check_ablation(name, ablation)
        except AutosparseError:
            continue
        found.append(ablation)
    return found


def same_start(one, other):
    """Whether two cells stand before the same training: masks, weights, and what is ahead."""
    weights, others = one.model.state_dict(), other.model.state_dict()
    return (
        one.masks == other.masks
        and all(torch.equal(weights[name], others[name]) for name in weights)
        and one.trainer.ahead == other.trainer.ahead
        and one.images == other.images
    )


@pytest.mark.parametrize("name", [name for name in CRITERIA if name not in (DENSE, BRANCH)])
def test_a_cell_starts_from_the_same_alone_and_after_others_in_its_job(name, tiny_digits, tiny_scorer, tmp_path):
    def scored():
        return Scored(Store(tmp_path), lambda _: tiny_scorer)

    def ready(own, last):
        return _pruned(own, tiny_digits, "cpu", Execution(), last)

    job = [ablated(name, ablation, sparsity) for ablation in accepted(name) for sparsity in SPARSITIES]
    shared = scored()
    for own in (*job, *reversed(job)):
        assert same_start(ready(own, shared), ready(own, scored())), own


def test_what_changes_weights_or_trains_is_scored_for_each_cell(tiny_digits, tmp_path, monkeypatch):
    asked, score = [], module.score

    def counting(model, name, *given, **options):
        asked.append(name)
        return score(model, name, *given, **options)

    monkeypatch.setattr(module, "score", counting)
    last = Scored(Store(tmp_path), lambda _: None)
    for name in ("magnitude-after-training", "magnitude"):
        for sparsity in SPARSITIES:
            _pruned(ablated(name, "invert", sparsity), tiny_digits, "cpu", Execution(), last)
    assert asked == ["magnitude-after-training"] * 2 + ["magnitude"]
