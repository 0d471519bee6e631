"""All-zero scores are refused wherever something is ranked, whatever else the criterion marks with infinities."""

import pytest
import torch
from small_nets import data, make
from torch import nn, tensor

from autosparse.criteria import prune
from autosparse.criteria.rounds import rounds_of
from autosparse.errors import AutosparseError
from autosparse.irp import rewind_prune
from autosparse.masks import Masks, prunable
from autosparse.training import Recipe


def with_a_head_of_zeros():
    model = make("residual with batchnorm")
    nn.init.zeros_(model.head.weight)
    return model


@pytest.mark.parametrize("name", ["snip", "iter-snip", "force", "snip-it", "synflow", "snip-structured", "3sp"])
def test_a_head_of_zeros_leaves_no_scores_to_prune_by(name):
    with pytest.raises(AutosparseError, match=r"every score of .* is 0, so nothing can be ranked"):
        prune(with_a_head_of_zeros(), name, 0.5, data())


def rounds(scores, revive=False):
    model = nn.Linear(4, 1, bias=False)
    return list(rounds_of(model, [0.5, 0.75], lambda i, _: {"weight": tensor([scores[i]])}, revive))


def test_scores_of_weights_that_are_pruned_already_do_not_count():
    with pytest.raises(AutosparseError, match="every score of the 2 weights left of 4 is 0"):
        rounds([[4.0, 3, 2, 1], [0.0, 0, 9, 9]])


def test_scores_of_weights_that_may_come_back_count():
    *_, (masks, _) = rounds([[4.0, 3, 2, 1], [0.0, 0, 8, 9]], revive=True)
    assert masks["weight"].tolist() == [[False, False, False, True]]


def test_one_score_that_is_not_zero_is_enough():
    *_, (masks, _) = rounds([[4.0, 3, 2, 1], [0.0, -1, 0, 0]])
    assert masks["weight"].tolist() == [[True, False, False, False]]


def test_rounds_of_rewind_pruning_are_guarded_too(tiny_digits, monkeypatch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    asked = []

    def only_the_pruned(model, *_, **__):
        weight = prunable(model)["1.weight"]
        asked.append(weight)
        return {"1.weight": torch.rand(weight.shape) if len(asked) == 1 else (weight == 0).float()}

    monkeypatch.setattr("autosparse.irp.rewind.score", only_the_pruned)
    with pytest.raises(AutosparseError, match=r"every score of the \d+ weights left of 640 is 0"):
        rewind_prune(model, tiny_digits, iterations=2, final_density=0.25, recipe=Recipe(epochs=1))
    assert len(asked) == 2


def test_nan_is_neither_kept_nor_pruned():
    with pytest.raises(AutosparseError, match=r"scores of 'a' contain NaN"):
        Masks.where_scored({"a": tensor([1.0, torch.nan, -torch.inf])})
