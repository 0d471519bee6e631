"""Iterative rewind pruning on a small network with BatchNorm (so that there are buffers to rewind)."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from builders import same_tensors, state
from torch import nn

from autosparse.criteria import score
from autosparse.errors import AutosparseError
from autosparse.irp import rewind_prune
from autosparse.masks import Masks, prunable
from autosparse.schedule import density_after
from autosparse.seeds import derive_seed, generator
from autosparse.training import Recipe, train

RECIPE = Recipe(lr=0.01, epochs=1, batch_size=50)
RUN = {"iterations": 3, "final_density": 0.1, "recipe": RECIPE, "seed": 5}


def fresh():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 10))


def total_of(masks):
    return {name: sum(mask[name].int() for mask in masks) for name in masks[0]}


@pytest.fixture(scope="module")
def run(tiny_digits):
    """One run, with what ``on_iteration`` saw and the weights at the first batch of iterations 2 and 3."""
    model, seen, states, accuracies, first_batches, late = fresh(), [], [], [], [], []
    before = state(model)

    def on_iteration(i, masks, accuracy):
        seen.append((i, masks))
        states.append(state(model))
        accuracies.append(accuracy)
        late[:] = [True]

    def spy(module, _):
        if late and module.training:
            late.clear()
            first_batches.append(state(module))

    hook = model.register_forward_pre_hook(spy)
    survival = rewind_prune(model, tiny_digits, on_iteration=on_iteration, **RUN)
    hook.remove()
    return SimpleNamespace(
        survival=survival,
        before=before,
        after=state(model),
        iterations=[i for i, _ in seen],
        masks=[masks for _, masks in seen],
        states=states,
        accuracies=accuracies,
        first_batches=first_batches,
    )


def plain_irp(data, iterations, final_density, recipe, seed, score_examples=None):
    """The same run, written plainly: a new network instead of a rewind, a stable sort instead of a threshold."""
    masks, history = [Masks.dense(fresh())], []
    for i in range(1, iterations + 1):
        model = fresh()
        history.append(train(model, data, recipe, masks[-1], seed=derive_seed(seed, "irp", i)).last)
        scores = score(model, "snip", data.train.batches(512, generator(seed, "score", i), limit=score_examples))
        alive = torch.cat([masks[-1][name].flatten() for name in scores])
        flat = torch.cat([s.flatten() for s in scores.values()]).masked_fill(~alive, -1.0)
        removed = round(len(flat) * (1 - final_density ** (i / iterations)))
        kept = torch.zeros_like(alive)
        kept[flat.sort(descending=True, stable=True).indices[: len(flat) - removed]] = True
        pieces = kept.split([s.numel() for s in scores.values()])
        masks.append(Masks({name: p.view_as(scores[name]) for name, p in zip(scores, pieces, strict=True)}))
    return masks[1:], history


def test_masks_and_accuracies_equal_those_of_a_plain_loop(run, tiny_digits):
    masks, accuracies = plain_irp(tiny_digits, **RUN)
    assert run.accuracies == accuracies
    assert all(same_tensors(dict(ours), dict(plain)) for ours, plain in zip(run.masks, masks, strict=True))


def test_each_iteration_scores_on_examples_of_its_own(tiny_digits):
    few = {**RUN, "score_examples": 20}
    masks, _ = plain_irp(tiny_digits, **few)
    survival = rewind_prune(fresh(), tiny_digits, **few)
    assert all(same_tensors(dict(survival.masks(i)), dict(plain)) for i, plain in enumerate(masks, 1))


def test_on_iteration_is_called_after_each(run):
    assert run.iterations == [1, 2, 3]


@pytest.mark.parametrize("schedule", ["geometric", "linear"])
def test_each_iteration_keeps_exactly_the_scheduled_count(tiny_digits, schedule):
    kept = []
    rewind_prune(fresh(), tiny_digits, schedule=schedule, on_iteration=lambda i, m, a: kept.append(m.kept), **RUN)
    n = 64 * 20 + 20 * 10
    assert kept == [n - round(n * (1 - density_after(i, 3, 0.1, schedule))) for i in (1, 2, 3)]


def test_no_weight_comes_back(run):
    for earlier, later in zip(run.masks, run.masks[1:], strict=False):
        assert all((later[name] <= earlier[name]).all() for name in later)


def test_survived_is_the_number_of_masks_that_hold_the_weight(run):
    assert same_tensors(run.survival.survived, total_of(run.masks))


@pytest.mark.parametrize("iteration", [1, 2, 3])
def test_masks_can_be_had_back_from_the_counts(run, iteration):
    assert same_tensors(dict(run.survival.masks(iteration)), dict(run.masks[iteration - 1]))


def test_model_is_back_in_its_initial_state_bit_for_bit(run):
    assert same_tensors(run.after, run.before)


def test_model_is_rewound_bit_for_bit_after_every_iteration(run):
    assert [same_tensors(later, run.before) for later in run.states] == [True, True, True]


def test_training_of_later_iterations_starts_from_the_masked_initial_weights(run):
    assert len(run.first_batches) == 2
    for masks, at_first_batch in zip(run.masks, run.first_batches, strict=False):
        expected = {name: value * masks[name] if name in masks else value for name, value in run.before.items()}
        assert same_tensors(at_first_batch, expected)


def test_param_is_the_initial_weight(run):
    assert same_tensors(run.survival.param, {name: run.before[name] for name in ("1.weight", "4.weight")})


def test_grad_is_that_of_the_initial_weights_over_the_train_split(tiny_digits):
    model, (x, y) = fresh(), next(tiny_digits.train.batches(200))
    gradients = torch.autograd.grad(F.cross_entropy(model.eval()(x), y), list(prunable(model).values()))
    survival = rewind_prune(fresh(), tiny_digits, score_examples=None, **RUN)
    torch.testing.assert_close(list(survival.grad.values()), list(gradients))


def test_on_request_grad_is_taken_in_training_mode_whatever_mode_the_model_is_in(tiny_digits):
    model, (x, y) = fresh(), next(tiny_digits.train.batches(200))
    gradients = torch.autograd.grad(F.cross_entropy(model.train()(x), y), list(prunable(model).values()))
    survival = rewind_prune(fresh().eval(), tiny_digits, score_examples=None, gradient_mode="train", **RUN)
    torch.testing.assert_close(list(survival.grad.values()), list(gradients))


def test_each_submodule_is_back_in_its_mode(tiny_digits):
    model = fresh()
    model[2].eval()
    rewind_prune(model, tiny_digits, **RUN)
    assert [module.training for module in model] == [True, True, False, True, True]


def test_the_modes_stand_in_the_provenance(run, tiny_digits):
    assert (run.survival.gradient_mode, run.survival.provenance["criterion_mode"]) == ("eval", "eval")
    other = rewind_prune(fresh(), tiny_digits, gradient_mode="train", mode="train", **RUN)
    assert (other.gradient_mode, other.provenance["criterion_mode"]) == ("train", "train")


def test_an_unknown_gradient_mode_is_refused(tiny_digits):
    with pytest.raises(AutosparseError, match="unknown gradient_mode 'evaluate': did you mean 'eval'"):
        rewind_prune(fresh(), tiny_digits, gradient_mode="evaluate", **RUN)


def test_an_initial_gradient_that_is_not_finite_is_refused_before_any_training(tiny_digits):
    model = fresh()
    with torch.no_grad():
        model[4].weight.fill_(3e38)
    with pytest.raises(AutosparseError, match=r"g_0 in mode 'eval' are not finite"):
        rewind_prune(model, tiny_digits, **RUN)


def test_a_few_score_examples_are_those_that_the_seed_draws_first(tiny_digits):
    model = fresh().eval()
    [(x, y)] = tiny_digits.train.batches(512, generator(RUN["seed"], "score", 0), limit=20)
    F.cross_entropy(model(x), y).backward()
    survival = rewind_prune(fresh(), tiny_digits, score_examples=20, **RUN)
    assert torch.allclose(survival.grad["1.weight"], model[1].weight.grad, rtol=1e-5, atol=1e-8)


def test_score_examples_limits_what_the_gradient_sees(tiny_digits):
    few, all_of_them = (rewind_prune(fresh(), tiny_digits, score_examples=n, **RUN).grad for n in (20, None))
    assert not same_tensors(few, all_of_them)


def test_dtypes_and_shapes_are_those_promised(run):
    parts = (run.survival.param, run.survival.grad, run.survival.survived)
    assert [{t.dtype for t in part.values()} for part in parts] == [{torch.float32}, {torch.float32}, {torch.int32}]
    assert [{n: tuple(t.shape) for n, t in p.items()} for p in parts] == [
        {"1.weight": (20, 64), "4.weight": (10, 20)}
    ] * 3


def test_weights_are_scored_in_the_trained_state(tiny_digits):
    """One iteration of magnitude pruning keeps the largest trained weights, not the largest initial ones."""
    sizes = []
    model = fresh()
    model.register_forward_hook(lambda m, *_: sizes.append({n: w.abs() for n, w in state(m).items()}))
    recipe = replace(RECIPE, lr=0.05)
    survival = rewind_prune(model, tiny_digits, "magnitude", 1, 0.5, recipe=recipe)
    trained = torch.cat([sizes[-1][name].flatten() for name in survival.param])
    kept = torch.cat([count.flatten() for count in survival.survived.values()]).bool()
    assert trained[kept].min() >= trained[~kept].max()


def test_accuracy_in_the_provenance_is_that_of_each_iteration(run):
    assert run.survival.provenance["accuracy"] == run.accuracies


def test_provenance_is_json_and_says_how_the_run_was_made(run, tiny_digits):
    provenance = json.loads(json.dumps(run.survival.provenance, allow_nan=False))
    expected = {"criterion": "snip", "iterations": 3, "final_density": 0.1, "schedule": "geometric", "seed": 5}
    assert {key: provenance[key] for key in expected} == expected
    assert provenance["dataset_fingerprint"] == tiny_digits.fingerprint
    assert Recipe(**{**provenance["recipe"], "milestones": tuple(provenance["recipe"]["milestones"])}) == RECIPE


def test_same_seed_gives_the_same_survival_bit_for_bit(run, tiny_digits):
    again = rewind_prune(fresh(), tiny_digits, **RUN)
    assert same_tensors(again.survived, run.survival.survived)
    assert same_tensors(again.grad, run.survival.grad)


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_a_run_that_goes_on_gives_the_same_survival_bit_for_bit(run, tiny_digits, reached):
    states, later = [], []
    rewind_prune(fresh(), tiny_digits, on_reached=states.append, **RUN)
    model = fresh()
    before = state(model)
    again = rewind_prune(
        model, tiny_digits, resume=states[reached - 1], on_iteration=lambda i, m, a: later.append(i), **RUN
    )
    assert later == list(range(reached + 1, 4))
    assert again.fingerprint == run.survival.fingerprint
    assert same_tensors(state(model), before)


@pytest.mark.parametrize("under_way", range(3), ids=["first iteration", "second", "last"])
def test_a_run_that_goes_on_within_an_iteration_gives_the_same_survival_bit_for_bit(tiny_digits, under_way):
    run, states, later = RUN | {"recipe": replace(RECIPE, epochs=3)}, [], []
    undisturbed = rewind_prune(fresh(), tiny_digits, on_state=lambda epoch, take: states.append((epoch, take())), **run)
    assert [epoch for epoch, _ in states] == [1, 2] * 3
    [*_, resume] = (reached for _, reached in states if reached.iteration == under_way)
    model = fresh()
    before = state(model)
    again = rewind_prune(model, tiny_digits, resume=resume, on_state=lambda epoch, _: later.append(epoch), **run)
    assert later == [1, 2] * (2 - under_way)
    assert again.fingerprint == undisturbed.fingerprint
    assert same_tensors(state(model), before)


def test_a_run_does_not_go_on_from_another_network(tiny_digits):
    states = []
    rewind_prune(fresh(), tiny_digits, on_reached=states.append, **RUN)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(AutosparseError, match="another network"):
        rewind_prune(other, tiny_digits, resume=states[0], **RUN)
