"""Criteria score in the mode that they say, whatever mode the model is in, and leave the model in its own mode."""

import copy

import pytest
import torch
import torch.nn.functional as F
from builders import same_tensors
from small_nets import PlainTraining, data, make
from torch import nn

from autosparse.criteria import CRITERIA, criterion, score
from autosparse.criteria.options import Positive
from autosparse.errors import AutosparseError
from autosparse.masks import prunable

MODES = {
    "snip": "eval", "snip-it": "eval", "snip-iter": "eval", "synflow": "eval",
    "synflow-l2": "eval", "px": "eval", "ntk-sap": "eval", "fisher": "eval",
    "formula": "eval",
    "grasp": "train", "grasp-mb": "train", "snip-mb": "train", "force": "train", "iter-snip": "train",
    "early": "train", "prospr": "train", "prospr-first-order": "train", "prospr-structured": "train",
    "snip-structured": "train", "3sp": "train", "3sp-reinit": "train", "3sp-rescale": "train",
}  # fmt: skip
"""What the code of each paper's authors does."""

LEARNS_FROM_DATA = sorted(set(MODES) - {"synflow", "synflow-l2"})


def options_of(name):
    given = {"sparsity": 0.5, "training": PlainTraining(), "rounds": 2, "steps": 2, "by": "snip"}
    given |= {"expression": "rewound_product + log_product"}  # which reads a gradient after the steps
    return {option: value for option, value in given.items() if option in CRITERIA[name].options}


def scores_of(model, name, **options):
    return score(model, name, data(), **options_of(name), **options)


def test_each_criterion_that_reads_gradients_has_the_mode_of_its_papers_code():
    assert {name: CRITERIA[name].mode for name in CRITERIA if CRITERIA[name].mode} == MODES
    assert {name: CRITERIA[name].defaults["mode"] for name in MODES} == MODES


@pytest.mark.parametrize("name", MODES)
def test_the_mode_of_the_caller_does_not_matter(name):
    net = "residual with batchnorm"
    mixed = make(net)
    mixed.norm.eval()
    first = scores_of(make(net).train(), name)
    assert same_tensors(first, scores_of(make(net).eval(), name))
    assert same_tensors(first, scores_of(mixed, name))


@pytest.mark.parametrize("name", LEARNS_FROM_DATA)
def test_the_option_sets_the_mode(name):
    found = {mode: scores_of(make("residual with batchnorm"), name, mode=mode) for mode in ("train", "eval")}
    assert not same_tensors(found["train"], found["eval"])
    assert same_tensors(found[MODES[name]], scores_of(make("residual with batchnorm"), name))


@pytest.mark.parametrize("name", [*MODES, "lth", "magnitude"])
def test_each_submodule_is_back_in_its_own_mode(name):
    model = make("residual with batchnorm")
    model.norm.eval()
    scores_of(model, name)
    assert {part: module.training for part, module in model.named_modules()} == {
        "": True, "stem": True, "norm": False, "inner": True, "head": True
    }  # fmt: skip


def test_each_submodule_is_back_in_its_own_mode_where_the_loss_fails():
    def failing(logits, y):
        raise ValueError("no loss")

    model = make("residual with batchnorm")
    model.norm.eval()
    with pytest.raises(ValueError, match="no loss"):
        score(model, "snip", data(), failing)
    assert model.training
    assert not model.norm.training


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_gradient_is_that_of_the_network_in_this_mode(mode):
    """SNIP of one batch, against a gradient taken independently."""
    model, (x, y) = make("residual with batchnorm"), data()[0]
    reference = copy.deepcopy(model).train(mode == "train")
    weights = prunable(reference)
    gradients = torch.autograd.grad(F.cross_entropy(reference(x), y), list(weights.values()))
    saliency = [(w.detach() * g).abs() for w, g in zip(weights.values(), gradients, strict=True)]
    total = sum(s.sum() for s in saliency)
    found = score(model, "snip", [(x, y)], mode=mode)
    torch.testing.assert_close(list(found.values()), [s / total for s in saliency])


def test_dropout_is_off_in_evaluation_mode():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(0.5), nn.Linear(8, 4)).double()
    plain = nn.Sequential(network[0], network[1], nn.Identity(), network[3])
    assert same_tensors(score(network, "snip", data()), score(plain, "snip", data()))
    assert not same_tensors(score(network, "snip", data(), mode="train"), score(plain, "snip", data()))


@pytest.mark.parametrize("value", ["evaluate", True, None])
def test_another_mode_is_refused(value):
    with pytest.raises(AutosparseError, match="option 'mode' of 'snip' must be 'train' or 'eval', got"):
        score(make("conv"), "snip", data(), mode=value)


def test_a_criterion_without_gradients_has_no_mode():
    assert not CRITERIA["magnitude"].options
    with pytest.raises(AutosparseError, match="unknown option of criterion 'magnitude': 'mode'"):
        score(make("conv"), "magnitude", mode="eval")


@pytest.fixture
def registered():
    """Registers criteria for one test."""
    yield criterion
    for name in [name for name in CRITERIA if name.startswith("own-")]:
        del CRITERIA._members[name]


def test_a_users_criterion_that_reads_gradients_scores_in_training_mode_unless_it_says_otherwise(registered):
    seen = []

    @registered("own-silent", needs=("data", "gradients"), paper="none")
    def silent(model, batches, loss, power: Positive = 2.0):
        """None."""
        seen.append(model.training)
        return {name: weight.detach().abs() ** power for name, weight in prunable(model).items()}

    @registered("own-decides", needs=("data", "gradients"), paper="none")
    def decides(model, batches, loss, mode: str = "both"):
        """None."""
        seen.append(mode)
        return silent(model, batches, loss)

    score(make("conv").eval(), "own-silent", data())
    score(make("conv").eval(), "own-silent", data(), mode="eval")
    score(make("conv").eval(), "own-decides", data())
    assert seen == [True, False, "both", False]
    assert CRITERIA["own-silent"].defaults == {"power": 2.0, "mode": "train"}
    assert CRITERIA["own-decides"].defaults == {"mode": "both"}


def test_a_mode_twice_is_a_mistake_of_the_criterion(registered):
    with pytest.raises(ValueError, match="'own-twice' already has an option 'mode': leave mode= out of @criterion"):

        @registered("own-twice", paper="none", mode="eval")
        def twice(model, batches, loss, mode: str = "eval"):
            """None."""


def test_options_without_names_are_a_mistake_of_the_criterion(registered):
    with pytest.raises(ValueError, match="criterion 'own-any' must name its options"):

        @registered("own-any", paper="none")
        def anything(model, batches, loss, **options):
            """None."""


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_finite_are_refused_with_criterion_and_layer(registered, bad):
    @registered("own-infinite", needs=("gradients",), paper="none")
    def infinite(model, batches, loss):
        """None."""
        scores = {name: torch.ones_like(weight) for name, weight in prunable(model).items()}
        scores["3.weight"][1, 2] = bad
        return scores

    message = rf"scores of criterion 'own-infinite' in mode 'train' are not finite \('3\.weight' has {bad}\)"
    with pytest.raises(AutosparseError, match=message):
        score(make("conv"), "own-infinite")


def test_scores_that_are_not_finite_are_refused_within_rounds():
    model = make("conv")
    with torch.no_grad():
        model[3].weight.fill_(1e308)
    with pytest.raises(AutosparseError, match=r"scores of round 1 are not finite"):
        score(model, "synflow", data(), sparsity=0.5, rounds=2)
