"""Criteria on networks with attention, in either mode, against references of their own."""

import pytest
import torch
import torch.nn.functional as F
from attention_nets import ATTENTION, make
from small_nets import PlainTraining, data, saliency_after_training

from autosparse.criteria import CRITERIA, prune, score
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def mode(training):
    return {"mode": "train" if training else "eval"}


def gradients(model, x, y):
    weights = list(prunable(model).values())
    return torch.autograd.grad(F.cross_entropy(model(x), y), weights)


@MODES
@pytest.mark.parametrize("net", ATTENTION)
def test_grasp_is_the_change_of_the_gradient_along_itself(net, training):
    """H g by central differences of the gradient, which needs no second derivative."""
    model, [(x, y)] = make(net, training), data(batches=1)
    weights, step = prunable(model), 1e-5
    initial = {name: weight.detach().clone() for name, weight in weights.items()}
    along = gradients(model, x, y)
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for (name, weight), g in zip(weights.items(), along, strict=True):
                weight.copy_(initial[name] + sign * step * g)
        ends.append(gradients(model, x, y))
    expected = {name: initial[name] * (up - down) / (2 * step) for name, up, down in zip(weights, *ends, strict=True)}
    for name in ("grasp", "grasp-mb"):
        scores = score(make(net), name, [(x, y)], **mode(training))
        for layer, s in scores.items():
            assert torch.allclose(s, expected[layer], rtol=1e-4, atol=1e-9), (name, layer)


@MODES
@pytest.mark.parametrize("net", ATTENTION)
def test_prospr_is_the_derivative_of_the_loss_after_training_by_the_mask(net, training):
    settings = {"steps": 2, "lr": 0.1, "momentum": 0.9}
    model, batches = make(net, training), data()
    expected = saliency_after_training(model, batches, **settings)
    for name, s in score(model, "prospr", batches, first_buffer="differentiated", **settings, **mode(training)).items():
        assert torch.allclose(s, expected[name], atol=1e-6, rtol=1e-4)


REFUSED = ("npb", "phew", "px")
"""Criteria that cannot go through attention, and say why: see their own tests."""
UNSTRUCTURED = sorted(
    name
    for name in CRITERIA
    if name not in ("autos", "gmp", *REFUSED) and "channels" not in CRITERIA[name].needs  # gmp starts dense
)


@pytest.mark.parametrize("name", UNSTRUCTURED)
def test_projections_are_scored_and_pruned_with_the_rest(name):
    model = make("transformer")
    options = {"training": PlainTraining()} if "training" in CRITERIA[name].needs else {}
    options |= {"steps": 2} if name.startswith("prospr") else {}
    options |= {"every": 1} if "changing masks" in CRITERIA[name].needs else {}
    masks = prune(model, name, 0.6, data(), **options)
    assert list(masks) == list(prunable(model))
    assert masks.kept == masks.total - round(0.6 * masks.total)
    projections = masks["layers.layers.0.self_attn.in_proj_weight"]
    assert projections.any()
    assert not projections.all()


@pytest.mark.parametrize("name", sorted(name for name in CRITERIA if "channels" in CRITERIA[name].needs))
def test_channels_are_not_followed_into_attention(name):
    with pytest.raises(AutosparseError, match=r"cannot be (followed|traced)"):
        prune(make("attention"), name, 0.5, data())


def test_erk_takes_queries_keys_and_values_for_three_layers():
    """24 x 8 in one tensor: with densities by the shape of the whole, the projections would get 2 / 3 as many."""
    model = torch.nn.MultiheadAttention(8, 2)
    masks = prune(model, "random-erk", 0.75)
    assert [int(part.sum()) for part in masks["in_proj_weight"].chunk(3)] == [16, 16, 16]
    assert int(masks["out_proj.weight"].sum()) == 16


@MODES
def test_pruned_projections_stay_zero_in_training_and_are_zero_in_the_fast_path(training):
    model = make("transformer", training)
    masks = prune(model, "magnitude", 0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    handle = masks.hold(model, optimizer)
    for x, y in data():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    handle.remove()
    for name, weight in prunable(model).items():
        assert (weight[~masks[name]] == 0).all()
        assert (weight[masks[name]] != 0).all()
    with torch.no_grad():
        fast = model.eval()(data()[0][0])
    assert torch.allclose(fast, model(data()[0][0]))


def test_masks_from_before_projections_were_prunable_leave_them_whole_and_say_so():
    model = make("attention")
    old = Masks({name: mask for name, mask in Masks.dense(model).items() if name != "attention.in_proj_weight"})
    old["head.weight"].zero_()
    with pytest.warns(UserWarning, match=r"the masks name 3 of 4 prunable weights: 'attention.in_proj_weight' stays"):
        old.apply_(model)
    assert (model.attention.in_proj_weight != 0).all()
    assert (model.head.weight == 0).all()
