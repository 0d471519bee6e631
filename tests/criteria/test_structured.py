"""Structured criteria: saliency against finite differences of gates, and what becomes of the weights."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from small_nets import NETS, PlainTraining, data, loss_after_training, make
from torch import nn

from autosparse.channels import channel_costs, channel_groups
from autosparse.criteria import CRITERIA, prune, score
from autosparse.errors import AutosparseError
from autosparse.masks import prunable

STRUCTURED = sorted(name for name in CRITERIA if "channels" in CRITERIA[name].needs)
STEP = 1e-5
CHANNELS = {  # by hand: where channels are computed, how many, and the layers that read them
    "linear": [("1", 7, ["3"])],
    "conv": [("0", 3, ["3"])],
    "residual with batchnorm": [("stem", 3, ["inner", "head"])],
}


def channel_scores(model, net, name, batches, **options):
    """The scores of all channels, read off the weights that compute them."""
    scores = score(model, name, batches, sparsity=0.0, **options)
    return torch.cat([scores[f"{layer}.weight"].flatten(1)[:, 0] for layer, _, _ in CHANNELS[net]])


def loss_with_gate(model, batches, readers, size, channel, value):
    """The mean loss with one channel multiplied by ``value`` wherever it is read."""

    def gate(module, inputs):
        x = inputs[0].clone()
        x.view(len(x), size, -1)[:, channel] *= value
        return (x,)

    hooks = [model.get_submodule(reader).register_forward_pre_hook(gate) for reader in readers]
    losses = [F.cross_entropy(model(x), y).item() for x, y in batches]
    for hook in hooks:
        hook.remove()
    return sum(losses) / len(losses)


@pytest.mark.parametrize("net", NETS)
def test_snip_structured_is_the_derivative_of_the_loss_by_a_gate_on_the_channel(net):
    model, batches, expected = make(net), data(), []
    for _, size, readers in CHANNELS[net]:
        for channel in range(size):
            up, down = (loss_with_gate(model, batches, readers, size, channel, 1 + s * STEP) for s in (1, -1))
            expected.append(abs(up - down) / (2 * STEP))
    found = channel_scores(model, net, "snip-structured", batches)
    torch.testing.assert_close(found.double(), torch.tensor(expected).double() / sum(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("net", NETS)
def test_prospr_structured_is_the_derivative_of_the_loss_after_training_by_a_gate_at_its_start(net):
    settings = {"steps": 3, "lr": 0.1, "momentum": 0.9}
    model, batches, expected = make(net), data(), []
    for _, size, readers in CHANNELS[net]:
        for channel in range(size):
            losses = []
            for sign in (1, -1):
                gated = copy.deepcopy(model)
                for reader in readers:
                    weight = gated.get_submodule(reader).weight.data
                    weight.view(len(weight), size, -1)[:, channel] *= 1 + sign * STEP
                losses.append(loss_after_training(gated, batches, **settings))
            expected.append(abs(losses[0] - losses[1]) / (2 * STEP))
    found = channel_scores(model, net, "prospr-structured", batches, first_buffer="differentiated", **settings)
    torch.testing.assert_close(found.double(), torch.tensor(expected).double() / sum(expected), rtol=1e-4, atol=1e-6)


def test_with_a_small_learning_rate_prospr_structured_is_snip_structured():
    batches = data()
    found = channel_scores(make("conv"), "conv", "prospr-structured", batches, steps=1, lr=1e-7)
    torch.testing.assert_close(
        found, channel_scores(make("conv"), "conv", "snip-structured", batches[1:2]), rtol=1e-4, atol=0
    )


def test_batchnorm_does_not_silence_the_saliency():
    """A gate on the weights before a BatchNorm would have no gradient at all."""
    model = make("residual with batchnorm")
    assert channel_scores(model, "residual with batchnorm", "snip-structured", data()).min() > 1e-4


def test_3sp_is_snip_structured_per_operation():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.Flatten(), nn.Linear(2, 4)).double()
    found, snip = (score(model, name, data(), sparsity=0.0) for name in ("3sp", "snip-structured"))
    first, second = 4 * 9 + 1 * 2 * 4, 1 * 3 * 4 + 4  # multiply-accumulates of one channel
    torch.testing.assert_close(found["0.weight"] * first, snip["0.weight"])
    torch.testing.assert_close(found["2.weight"] * second, snip["2.weight"])


def deep():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 30, 3), nn.ReLU(), nn.Conv2d(30, 40, 2), nn.ReLU(), nn.Flatten(), nn.Linear(40, 4)
        ).double()


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.93])
def test_the_count_of_channels_is_exact_and_every_layer_keeps_some(name, sparsity):
    masks = prune(deep(), name, sparsity, data())
    left = [int(masks[layer].flatten(1).any(1).sum()) for layer in ("0.weight", "2.weight")]
    assert sum(left) == 70 - round(70 * sparsity)
    assert min(left) >= 1
    assert masks["5.weight"].any(1).all()


def test_rescaled_weights_have_the_variance_that_suits_the_inputs_that_are_left():
    model, before = deep(), deep()
    masks = prune(model, "3sp-rescale", 0.5, data())
    for name, reads in (("0.weight", None), ("2.weight", "0.weight"), ("5.weight", "2.weight")):
        left = masks[reads].flatten(1).any(1).double().mean().item() if reads else 1.0
        torch.testing.assert_close(model.get_parameter(name), before.get_parameter(name) / math.sqrt(left))
    assert masks == prune(before, "3sp", 0.5, data())


def test_reinitialised_weights_are_kaiming_normal_for_the_inputs_that_are_left():
    model = deep()
    masks = prune(model, "3sp-reinit", 0.5, data(), seed=1)
    left = int(masks["0.weight"].flatten(1).any(1).sum())
    weight = model[2].weight[masks["2.weight"]]
    assert left < 30
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (left * 4)), rel=4 / math.sqrt(2 * len(weight)))
    assert (model[2].bias == 0).all()
    assert masks == prune(deep(), "3sp", 0.5, data())


def test_new_weights_follow_the_seed():
    weights = []
    for seed in (1, 1, 2):
        model = deep()
        prune(model, "3sp-reinit", 0.5, data(), seed=seed)
        weights.append(model[2].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_random_channels_follow_the_seed_and_need_no_data():
    masks = [prune(deep(), "random-structured", 0.5, seed=seed) for seed in (1, 1, 2)]
    assert masks[0] == masks[1] != masks[2]


def test_batches_may_be_an_iterator():
    assert prune(deep(), "3sp", 0.5, iter(data())) == prune(deep(), "3sp", 0.5, data())


@pytest.mark.parametrize("name", STRUCTURED)
def test_a_model_whose_channels_cannot_be_followed_is_refused(name):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(16, 4)).double()
    with pytest.raises(AutosparseError, match=r"no channel mapping for Sequential: at '1' \(GroupNorm\)"):
        prune(model, name, 0.5, data())


@pytest.mark.parametrize("name", ["3sp", "snip-structured", "prospr-structured"])
def test_no_batches_are_refused(name):
    with pytest.raises(AutosparseError, match="iterable of batches is empty"):
        prune(deep(), name, 0.5, [])


@pytest.mark.parametrize("name", [name for name in CRITERIA if "scorer" not in CRITERIA[name].needs])
def test_only_a_criterion_that_says_so_changes_the_model(name):
    model = make("residual with batchnorm").train()
    before = copy.deepcopy(model.state_dict())
    options = {"steps": 2} if name == "prospr-first-order" else {}
    if "training" in CRITERIA[name].needs:
        options["training"] = PlainTraining()
    if "changing masks" in CRITERIA[name].needs:
        options["every"] = 1
    prune(model, name, 0.4, data(), **options)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert bool(changed) == CRITERIA[name].changes_weights
    if "channels" in CRITERIA[name].needs:
        assert changed <= {*prunable(model), "stem.bias", "head.bias"}
    assert all(p.grad is None for p in model.parameters())
    assert model.training


def test_costs_are_not_mistaken_for_the_saliency():
    """3SP keeps fewer channels of the dearer layer than SNIP does, which does not look at costs."""
    model = deep()
    groups = channel_groups(model)
    costs = channel_costs(model, groups, data()[0][0][:1])
    assert costs[0] != costs[1]
    kept = {name: prune(deep(), name, 0.5, data()) for name in ("3sp", "snip-structured")}
    dear = "0.weight" if costs[0] > costs[1] else "2.weight"
    left = {name: int(masks[dear].flatten(1).any(1).sum()) for name, masks in kept.items()}
    assert left["3sp"] < left["snip-structured"]
