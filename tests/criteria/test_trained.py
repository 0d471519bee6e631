"""Iterative references against loops written out by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from small_nets import NETS, PlainTraining, data, highest, make, sgd_step

from autosparse.criteria import CRITERIA, prune, score
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

REWINDING = ("lth", "ltr", "snip-iter")


def by_hand(start, first_step, rounds, sparsity, saliency):
    """Copy the starting network, train it masked from ``first_step``, keep the highest; as plain as it gets."""
    names = list(prunable(start))
    masks = {name: torch.ones_like(start.get_parameter(name), dtype=torch.bool) for name in names}
    for i in range(rounds):
        network = copy.deepcopy(start)
        with torch.no_grad():
            for name in names:
                network.get_parameter(name).mul_(masks[name])
        for x, y in (data(seed=10 + i))[first_step:]:
            sgd_step(network, masks, x, y)
        target = sparsity if i == rounds - 1 else 1 - (1 - sparsity) ** ((i + 1) / rounds)
        masks = highest(saliency(network), masks, target)
    return Masks(masks)


def magnitudes(network):
    return {name: weight.detach().abs() for name, weight in prunable(network).items()}


def snip_of(network):
    """|w * mean gradient| over all examples of the batches, in evaluation mode."""
    network.eval()
    x, y = (torch.cat(part) for part in zip(*data(batches=1), strict=True))
    weights = prunable(network)
    gradients = torch.autograd.grad(F.cross_entropy(network(x), y), list(weights.values()))
    return {name: (w.detach() * g).abs() for (name, w), g in zip(weights.items(), gradients, strict=True)}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("name", "saliency"), [("lth", magnitudes), ("snip-iter", snip_of)])
def test_lth_and_snip_iter_equal_a_loop_by_hand(net, name, saliency):
    masks = prune(make(net), name, 0.7, data(batches=1), training=PlainTraining(), rounds=3)
    assert masks == by_hand(make(net), 0, 3, 0.7, saliency)


@pytest.mark.parametrize("net", NETS)
def test_ltr_rewinds_to_the_network_at_the_early_step(net):
    early = make(net)
    for x, y in data(seed=5)[:1]:
        sgd_step(early, None, x, y)
    model = make(net)
    masks = prune(model, "ltr", 0.7, training=PlainTraining(), rounds=3, rewind=0.25)
    assert masks == by_hand(early, 1, 3, 0.7, magnitudes)
    assert all(torch.equal(value, early.state_dict()[name]) for name, value in model.state_dict().items())


def test_ltr_lets_the_pruned_network_go_on_from_the_early_step():
    training = PlainTraining()
    prune(make("linear"), "ltr", 0.7, training=training, rounds=2, rewind=0.3)
    assert training.runs == [(None, 0, 2), (0, 2, None), (1, 2, None)]
    assert training.then == ("go on", 2)


@pytest.mark.parametrize(("rewind", "step"), [(0.01, 1), (0.25, 1), (0.26, 2), (0.75, 3), (0.99, 3)])
def test_the_early_step_is_a_share_of_all_rounded_up_and_at_most_the_last(rewind, step):
    training = PlainTraining()
    prune(make("linear"), "ltr", 0.7, training=training, rounds=1, rewind=rewind)
    assert training.runs == [(None, 0, step), (0, step, None)]


def test_ltr_that_rewinds_to_the_start_is_lth():
    ltr, lth = (
        prune(make("conv"), name, 0.8, training=PlainTraining(), rounds=2, **options)
        for name, options in (("ltr", {"rewind": 0.0}), ("lth", {}))
    )
    assert ltr == lth


@pytest.mark.parametrize("name", ["lth", "snip-iter"])
def test_rewinding_to_initialisation_leaves_the_model_as_it_was(name):
    model = make("residual with batchnorm").eval()
    before = copy.deepcopy(model.state_dict())
    score(model, name, data(), sparsity=0.5, training=PlainTraining(), rounds=2)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.training


def test_the_model_is_rewound_also_where_a_training_fails():
    model = make("residual with batchnorm")
    before = copy.deepcopy(model.state_dict())

    class Failing(PlainTraining):
        def __call__(self, model, masks, run=None, **steps):
            super().__call__(model, masks, run, **steps)
            if run == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(model, "lth", sparsity=0.5, training=Failing(), rounds=2)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", REWINDING)
def test_masks_are_nested_along_the_rounds(name):
    seen = []

    class Watching(PlainTraining):
        def __call__(self, model, masks, run=None, **steps):
            if masks is not None:
                seen.append(masks)
            super().__call__(model, masks, run, **steps)

    final = prune(make("linear"), name, 0.9, data(), training=Watching(), rounds=4)
    for earlier, later in zip(seen, [*seen[1:], final], strict=True):
        assert all((earlier[layer] | ~later[layer]).all() for layer in later)
    assert [masks.kept for masks in seen] == [140 - round(140 * (1 - 0.1 ** (i / 4))) for i in range(4)]


def test_magnitude_after_training_scores_and_keeps_the_trained_network():
    trained, model = make("conv"), make("conv")
    PlainTraining()(trained, None, run=0)
    scores = score(model, "magnitude-after-training", training=PlainTraining())
    assert all(torch.equal(s, magnitudes(trained)[name]) for name, s in scores.items())
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "then"),
    [
        ({}, ("fine-tune", 2)),
        ({"epochs": 1}, ("fine-tune", 1)),
        ({"retrain": "rewind-lr"}, ("go on", 0)),
        ({"retrain": "rewind-lr", "epochs": 1}, ("go on", 2)),
    ],
)
def test_retraining_is_as_asked(options, then):
    training = PlainTraining()
    score(make("linear"), "magnitude-after-training", training=training, **options)
    assert training.then == then


def test_wrong_options_are_refused_before_any_training():
    training = PlainTraining()
    with pytest.raises(AutosparseError, match="epochs must be at most the training's 2, got 3"):
        score(make("linear"), "magnitude-after-training", training=training, epochs=3)
    with pytest.raises(AutosparseError, match="must be 'fine-tune' or 'rewind-lr', got 'finetune'"):
        score(make("linear"), "magnitude-after-training", training=training, retrain="finetune")
    with pytest.raises(AutosparseError, match="'rounds' of 'lth'"):
        prune(make("linear"), "lth", 0.5, training=training, rounds=0)
    with pytest.raises(AutosparseError, match=r"'sparsity' of 'magnitude-after-training' must be a number in \[0, 1\)"):
        prune(make("linear"), "magnitude-after-training", 1.0, training=training)
    with pytest.raises(AutosparseError, match=r"'rewind' of 'ltr' must be a number in \[0, 1\)"):
        score(make("linear"), "ltr", sparsity=0.5, training=training, rewind=1.0)
    assert training.runs == []


@pytest.mark.parametrize("name", [name for name in CRITERIA if "training" in CRITERIA[name].needs])
def test_the_missing_training_is_asked_for(name):
    with pytest.raises(AutosparseError, match=f"criterion '{name}' needs the option 'training': a Trainer"):
        prune(make("linear"), name, 0.5, data())
    with pytest.raises(AutosparseError, match=r"pass training=autosparse\.Trainer"):
        prune(make("linear"), name, 0.5, data(), training=3)
