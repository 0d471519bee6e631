"""Refinement: a search that goes on where it was, never looks at test images, and finds what is better."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autosparse.autos import fit_scorer
from autosparse.autos.refine import Refinement, refine, with_coefficients
from autosparse.criteria import prune
from autosparse.data.validation import with_validation
from autosparse.errors import AutosparseError, DataError
from autosparse.models import build_model
from autosparse.training import Recipe

INPUTS = ("log_param", "activation", "layer_density")
HOW = Refinement(generations=3, population=4, sparsities=(0.9, 0.97))


@pytest.fixture(scope="module")
def linear_scorer(run, digits):
    return fit_scorer(run, "linear", INPUTS, rounds=3, examples=200, datasets={"digits": digits})


def refined(scorer, digits, how=HOW, **options):
    def make(seed):
        return build_model("lenet-300-100", digits.num_classes, digits.input_shape, seed)

    return refine(scorer, make, digits, Recipe(), how, 300, **options)


def test_it_goes_on_after_any_generation_to_the_same_end(linear_scorer, digits):
    before, seen, later = linear_scorer.network.coefficients.clone(), [], []
    whole = refined(linear_scorer, digits, on_generation=seen.append)
    again = refined(linear_scorer, digits, on_generation=later.append, known=[own.values for own in seen[:2]])
    assert torch.equal(whole.network.coefficients, again.network.coefficients)
    assert [own.number for own in later] == [3]
    assert later[0].images == seen[2].images == 3 * 5 * 2 * len(with_validation(digits, 1 / 12, 0).train)
    assert torch.equal(linear_scorer.network.coefficients, before)
    assert not torch.equal(whole.network.coefficients, before)


def test_test_images_are_never_looked_at(linear_scorer, digits):
    blank = replace(digits, test=replace(digits.test, labels=digits.test.labels.flip(0)))
    one = Refinement(generations=1, population=4, sparsities=(0.9,))
    found = [refined(linear_scorer, data, one).network.coefficients for data in (digits, blank)]
    assert torch.equal(*found)


def test_it_finds_the_coefficients_that_judge_best(linear_scorer, digits, monkeypatch):
    best = torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64)

    def judge(self, candidates, generation):
        values = torch.tensor([float((best - torch.from_numpy(own)).norm()) for own in candidates])
        return values, 0.0

    monkeypatch.setattr("autosparse.autos.refine._Judge.__call__", judge)
    start = with_coefficients(linear_scorer, np.array([0.1, 0.1, 0.0]))
    found = refined(start, digits, Refinement(generations=40, population=8, spread=0.3)).network.coefficients
    torch.testing.assert_close(found / 0.02**0.5, best, rtol=0, atol=0.02)


def test_candidates_that_leave_nothing_to_rank_count_as_wrong(linear_scorer, digits, monkeypatch):
    def sometimes(model, *given, scorer, **options):
        if scorer.network.coefficients[0] > 0:
            raise AutosparseError("every score is 0")
        return prune(model, *given, scorer=scorer, **options)

    monkeypatch.setattr("autosparse.autos.refine.prune", sometimes)
    seen, how = [], Refinement(generations=1, population=6, sparsities=(0.5,), spread=0.5)
    refined(with_coefficients(linear_scorer, np.array([0.0, 0.1, 0.0])), digits, how, on_generation=seen.append)
    failed = torch.isclose(seen[0].values, torch.tensor(100.5, dtype=torch.float64).log())
    assert 0 < failed.sum() < 6
    with pytest.raises(AutosparseError, match="every score is 0"):
        refined(with_coefficients(linear_scorer, np.array([9.0, 0.0, 0.0])), digits, replace(how, spread=1e-6))


def test_what_has_no_coefficients_is_refused(run, digits, linear_scorer):
    trees = fit_scorer(run, "trees", INPUTS, rounds=3, rows=3000, datasets={"digits": digits})
    with pytest.raises(AutosparseError, match="'trees' has no coefficients to refine"):
        refined(trees, digits)
    with pytest.raises(AutosparseError, match="all coefficients of the scorer are 0"):
        refined(with_coefficients(linear_scorer, np.zeros(3)), digits)


def test_validation_images_are_training_images_that_are_no_longer_trained_on(digits):
    parted = with_validation(digits, 0.1, 3)
    count = round(len(digits.train) * 0.1)
    assert (len(parted.test), len(parted.train)) == (count, len(digits.train) - count)
    together = torch.cat([parted.train.images, parted.test.images]).flatten(1)
    assert sorted(map(bytes, together.numpy())) == sorted(map(bytes, digits.train.images.flatten(1).numpy()))
    assert not torch.equal(parted.test.labels, with_validation(digits, 0.1, 4).test.labels)
    with pytest.raises(DataError, match="too few to set 0% aside"):
        with_validation(digits, 1e-6, 0)
