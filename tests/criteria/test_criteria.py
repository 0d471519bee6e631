"""What holds for every criterion, and how criteria are asked for by name."""

import copy

import pytest
import torch
from builders import random_batches
from torch import nn

from autosparse.criteria import CRITERIA, score
from autosparse.errors import AutosparseError, UnknownName
from autosparse.masks import prunable
from autosparse.plugins import withholding

NAMES = [name for name in CRITERIA if not {"sparsity", "scorer", "training"} & set(CRITERIA[name].options)]
WITH_DATA = [name for name in NAMES if "data" in CRITERIA[name].needs]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4)
    )


@pytest.fixture
def batches():
    return random_batches((1, 4, 4), classes=4, sizes=(8, 5))


@pytest.mark.parametrize("name", NAMES)
def test_every_prunable_weight_gets_scores_of_its_shape(model, batches, name):
    scores = score(model, name, batches)
    assert {n: s.shape for n, s in scores.items()} == {n: w.shape for n, w in prunable(model).items()}


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_and_need_no_gradient(model, batches, name):
    for s in score(model, name, batches).values():
        assert s.isfinite().all()
        assert not s.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_same_request_gives_the_same_scores(model, batches, name):
    first, again = score(model, name, batches), score(model, name, batches)
    assert all(torch.equal(s, again[n]) for n, s in first.items())


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_batchnorm_buffers_are_left_as_they_were(model, batches, name):
    before = copy.deepcopy(model.state_dict())
    score(model, name, batches)
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_absent_gradients_stay_absent(model, batches, name):
    score(model, name, batches)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_already_there_are_left_as_they_were(model, batches, name):
    for p in model.parameters():
        p.grad = torch.full_like(p, 3.0)
    score(model, name, batches)
    assert all((p.grad == 3.0).all() for p in model.parameters())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_mode_is_left_as_it_was(model, batches, name, training):
    model.train(training)
    score(model, name, batches)
    assert all(module.training is training for module in model.modules())


@pytest.mark.parametrize("name", WITH_DATA)
def test_buffers_are_restored_even_where_the_loss_fails(model, batches, name):
    def failing(logits, y):
        raise RuntimeError("no loss")

    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="no loss"):
        score(model, name, batches, failing)
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())


@pytest.mark.parametrize("name", WITH_DATA)
def test_missing_data_are_asked_for(model, name):
    with pytest.raises(AutosparseError, match=f"criterion '{name}' needs data: pass batches"):
        score(model, name)


@pytest.mark.parametrize("name", WITH_DATA)
@pytest.mark.parametrize("empty", [[], iter([])])
def test_empty_batches_are_refused(model, name, empty):
    with pytest.raises(AutosparseError, match="iterable of batches is empty"):
        score(model, name, empty)


@pytest.mark.parametrize("name", WITH_DATA)
def test_model_without_prunable_weights_is_refused(batches, name):
    with pytest.raises(AutosparseError, match="no prunable weights to score"):
        score(nn.BatchNorm2d(1), name, batches)


@pytest.mark.parametrize("name", WITH_DATA)
def test_frozen_weight_is_named(model, batches, name):
    model[4].weight.requires_grad_(False)
    with pytest.raises(AutosparseError, match=r"'4\.weight' does not require a gradient"):
        score(model, name, batches)


def test_unknown_criterion_suggests_the_nearest(model):
    with pytest.raises(UnknownName, match=r"unknown criterion 'snp': did you mean 'snip'\?"):
        score(model, "snp")


def test_unknown_option_suggests_the_nearest(model, batches):
    with pytest.raises(UnknownName, match=r"unknown option of criterion 'grasp': 'temp': did you mean 'temperature'\?"):
        score(model, "grasp", batches, temp=3)


def test_missing_option_is_named(model, batches):
    with pytest.raises(AutosparseError, match="criterion 'autos' needs the option 'scorer'"):
        score(model, "autos", batches)


@pytest.mark.parametrize(
    ("name", "options"),
    [("snip", ["reinit", "seed", "mode"]), ("grasp", ["temperature", "mode"]), ("random", ["seed"]), ("magnitude", [])],
)
def test_options_are_those_of_the_function(name, options):
    assert CRITERIA[name].options == options


@pytest.mark.parametrize("name", NAMES)
def test_listing_has_a_line_and_a_paper_for_each(name):
    assert CRITERIA[name].summary.endswith(".")
    assert CRITERIA[name].paper


def test_nothing_is_known_of_a_criterion_whose_plugin_is_not_imported(model, batches):
    with withholding() as withheld:
        withheld.plugins.add("theirs")
        stands = CRITERIA["brought-by-theirs"]
        assert not stands.imported
        with pytest.raises(AutosparseError, match="the criterion's plugin is not imported here"):
            stands.function(model, batches, None)
    assert CRITERIA["snip"].imported
