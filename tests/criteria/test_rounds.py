"""Iterative criteria against loops written out by hand, and the combinator's promises."""

import itertools
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small_nets import NETS, PlainTraining, data, make

from autosparse.criteria import CRITERIA, prune, score
from autosparse.criteria.rounds import geometric_sparsities, prune_in_rounds
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

ITERATIVE = ("iter-snip", "force", "snip-it", "synflow")


def gradients(model, x, y):
    weights = prunable(model)
    return dict(zip(weights, torch.autograd.grad(F.cross_entropy(model(x), y), list(weights.values())), strict=True))


def by_hand(model, batches, sparsities, revive):
    """Plain loop over flat vectors with a stable sort: what Iter-SNIP and FORCE promise."""
    weights = prunable(model)
    initial = torch.cat([w.detach().flatten() for w in weights.values()])
    alive = torch.ones_like(initial, dtype=torch.bool)
    for i, sparsity in enumerate(sparsities):
        position = 0
        for w in weights.values():
            w.data = (initial * alive)[position : position + w.numel()].view_as(w)
            position += w.numel()
        flat = torch.cat([g.flatten() for g in gradients(model, *batches[i % len(batches)]).values()])
        saliency = (initial * flat).abs()
        if not revive:
            saliency[~alive] = -1
        keep = len(saliency) - round(len(saliency) * sparsity)
        alive = torch.zeros_like(alive)
        alive[saliency.argsort(descending=True, stable=True)[:keep]] = True
    return alive


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("name", "revive"), [("iter-snip", False), ("force", True)])
def test_iter_snip_and_force_equal_a_loop_by_hand(net, name, revive):
    masks = prune(make(net), name, 0.9, data(), rounds=7)
    expected = by_hand(make(net), data(), [1 - 0.1 ** (i / 7) for i in range(1, 7)] + [0.9], revive)
    assert torch.equal(torch.cat([m.flatten() for m in masks.values()]), expected)


def test_snip_it_equals_a_loop_by_hand_along_its_halving_schedule():
    masks = prune(make("conv"), "snip-it", 0.9, data(), steps=2)
    expected = by_hand(make("conv"), data(), [0.5, 0.7, 0.8, 0.9], revive=False)
    assert torch.equal(torch.cat([m.flatten() for m in masks.values()]), expected)


def test_snip_it_reaches_a_target_up_to_half_at_once():
    masks = prune(make("conv"), "snip-it", 0.4, data(batches=1))
    assert masks == prune(make("conv"), "snip", 0.4, data(batches=1))


def test_one_round_of_iter_snip_is_snip():
    batches = data(batches=1)
    assert prune(make("linear"), "iter-snip", 0.7, batches, rounds=1) == prune(make("linear"), "snip", 0.7, batches)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", ITERATIVE)
def test_a_criterion_leaves_the_model_as_it_was(net, name):
    model = make(net)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    score(model, name, data(), sparsity=0.8)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert model.training


@given(sparsity=st.floats(0, 0.99), name=st.sampled_from(ITERATIVE))
def test_the_sparsity_is_met_to_the_weight(sparsity, name):
    model = make("linear")
    extra = {"steps": 2} if name == "snip-it" else {"rounds": 3}
    masks = prune(model, name, sparsity, data(batches=1), **extra)
    assert masks.kept == 140 - round(140 * sparsity)


def rounds_of(revive, scores):
    """The masks that each round saw, as the zeros in the model, for a given list of scores."""
    model = torch.nn.Linear(6, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    seen = []

    def score_round(i, _):
        seen.append((model.weight != 0).flatten().tolist())
        return {"weight": torch.tensor([scores[i]])}

    final = prune_in_rounds(model, [1 / 3, 2 / 3], score_round, revive=revive)
    return seen, Masks.from_scores(final, 2 / 3)["weight"].flatten().tolist()


def test_without_revival_masks_are_nested_and_with_it_a_pruned_weight_returns():
    scores = [[1.0, 2, 3, 4, 5, 6], [9.0, 1, 1, 2, 3, 1]]
    seen, final = rounds_of(False, scores)
    assert seen == [[True] * 6, [False, False, True, True, True, True]]
    assert final == [False, False, False, True, True, False]
    seen, final = rounds_of(True, scores)
    assert final == [True, False, False, False, True, False]


def test_no_more_than_two_rounds_scores_are_in_memory_at_a_time():
    model, made, alive = torch.nn.Linear(6, 1, bias=False), [], []

    def score_round(i, _):
        alive.append(sum(score() is not None for score in made))
        scores = torch.arange(6.0)[None] + i
        made.append(weakref.ref(scores))
        return {"weight": scores}

    prune_in_rounds(model, geometric_sparsities(0.8, 20), score_round)
    assert len(alive) == 20
    assert max(alive) <= 2


def masks_along(name, net, **options):
    """What is not 0 in the network at each round, seen from a hook on the network."""
    model, seen = make(net), []

    def look(module, _):
        now = torch.cat([(weight != 0).flatten() for weight in prunable(module).values()])
        if not seen or not torch.equal(now, seen[-1]):
            seen.append(now)

    model.register_forward_pre_hook(look)
    final = prune(model, name, 0.9, data(), **options)
    return [*seen, torch.cat([mask.flatten() for mask in final.values()])]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("name", "options"), [("iter-snip", {}), ("snip-it", {}), ("synflow", {"rounds": 8})])
def test_masks_are_nested_where_a_pruned_weight_must_not_return(net, name, options):
    masks = masks_along(name, net, **options)
    assert len(masks) > 4
    assert all((earlier | ~later).all() for earlier, later in itertools.pairwise(masks))


@pytest.mark.parametrize("net", NETS)
def test_weights_return_in_force(net):
    returned = [later & ~earlier for earlier, later in itertools.pairwise(masks_along("force", net))]
    assert any(step.any() for step in returned)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", ["snip", "snip-mb", "grasp", "grasp-mb"])
def test_the_order_of_batches_does_not_matter(net, name):
    there, back = score(make(net), name, data()), score(make(net), name, data()[::-1])
    assert all(torch.allclose(there[layer], back[layer], rtol=1e-9, atol=1e-15) for layer in there)


def test_geometric_sparsities_end_exactly_at_the_target():
    assert geometric_sparsities(0.99, 2) == [pytest.approx(0.9), 0.99]


@pytest.mark.parametrize("name", ["iter-snip", "force", "synflow"])
def test_no_rounds_are_refused(name):
    with pytest.raises(AutosparseError, match=r"option 'rounds' of .* must be a whole number at least 1, got 0"):
        prune(make("linear"), name, 0.5, data(), rounds=0)


def test_an_iterative_criterion_asks_for_the_sparsity_it_prunes_to():
    with pytest.raises(AutosparseError, match="needs the option 'sparsity'"):
        score(make("linear"), "force", data())


def test_an_empty_iterable_is_refused():
    with pytest.raises(AutosparseError, match="empty"):
        prune(make("linear"), "force", 0.5, [])


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != "autos"])
def test_scores_have_the_weights_shapes_and_no_nan(name):
    model = make("residual with batchnorm")
    options = {"sparsity": 0.5} if "sparsity" in CRITERIA[name].options else {}
    if name == "prospr-first-order":
        options["steps"] = 2
    if "training" in CRITERIA[name].needs:
        options["training"] = PlainTraining()
    if "changing masks" in CRITERIA[name].needs:
        options["every"] = 1
    scores = score(model, name, data(), **options)
    assert {n: s.shape for n, s in scores.items()} == {n: w.shape for n, w in prunable(model).items()}
    assert not any(s.isnan().any() for s in scores.values())
