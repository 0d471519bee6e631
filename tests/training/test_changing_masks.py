"""Masks that change in training: a step by hand, exact densities, empty states of what grows, and their history."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from builders import lenet
from torch import nn

from autosparse.criteria import prune
from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.mask_change import Change
from autosparse.masks import Masks, prunable
from autosparse.training import Execution, Recipe, Trainer, train
from autosparse.training.changing import MaskHistory, forget

RECIPE = Recipe(optimizer="momentum", lr=0.05, epochs=3, batch_size=32)  # 7 steps an epoch, 21 in all
DYNAMIC = {"set": {"every": 2}, "rigl": {"every": 2}, "gmp": {"every": 3}}


class Spy:
    """A rule that notes what it is given, and answers with the masks that ``choose`` makes."""

    def __init__(self, choose):
        self.choose, self.given = choose, []

    def __call__(self, step, masks, weights, gradients):
        copies = [{name: value.clone() for name, value in values.items()} for values in (weights, gradients)]
        self.given.append((step, masks, *copies))
        return self.choose(masks)


def swapped(masks):
    return Masks({name: ~mask for name, mask in masks.items()})


def test_one_step_of_sgd_and_a_change_by_hand(tiny_digits):
    """Gradients are the dense network's at the weights before the step; what falls is 0, what grows begins at 0."""
    recipe = Recipe(optimizer="sgd", lr=0.5, weight_decay=0.0, epochs=1, batch_size=200)
    model, (x, y) = lenet(), next(tiny_digits.train.batches(200))
    masks = prune(model, "random", 0.5)
    reference = masks.apply_(lenet())
    F.cross_entropy(reference(x), y).backward()
    spy = Spy(swapped)
    history = train(model, tiny_digits, recipe, masks, change=Change(spy, 1, 1))
    [(step, given, weights, gradients)] = spy.given
    assert (step, given) == (1, masks)
    for name, weight in prunable(reference).items():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-4, atol=1e-7)
        after = (weight.detach() - 0.5 * weight.grad) * masks[name]
        torch.testing.assert_close(weights[name], after, rtol=1e-4, atol=1e-6)
        assert (prunable(model)[name] == 0).all(), "what was kept has fallen, and what has grown is 0"
    assert history.masks.last == swapped(masks)


def test_masks_are_held_between_changes_and_change_when_they_are_due(tiny_digits):
    model, spy = lenet(), Spy(swapped)
    masks = prune(model, "random", 0.7)
    seen = []
    model.register_forward_pre_hook(
        lambda m, _: seen.append(Masks({n: w != 0 for n, w in prunable(m).items()})) if m.training else None
    )
    train(model, tiny_digits, RECIPE, masks, change=Change(spy, 5, 16))
    assert [step for step, *_ in spy.given] == [5, 10, 15]
    for step, now in enumerate(seen):
        allowed = swapped(masks) if min(step // 5, 3) % 2 else masks
        assert all(not (mask & ~allowed[name]).any() for name, mask in now.items()), step


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_what_grows_has_an_empty_state_and_the_rest_keeps_its_own(optimizer):
    model = nn.Linear(4, 1, bias=False)
    own = Recipe(optimizer=optimizer).optimizer_for(model)
    model(torch.ones(2, 4)).sum().backward()
    own.step()
    before = {key: value.clone() for key, value in own.state[model.weight].items() if value is not None}
    forget(own, model.weight, torch.tensor([[True, False, False, True]]))
    for key, value in own.state[model.weight].items():
        if value is not None and value.shape == model.weight.shape:
            assert value.tolist() == [[0.0, before[key][0, 1].item(), before[key][0, 2].item(), 0.0]]
        elif value is not None:
            assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_the_density_is_exact_at_every_step(tiny_digits, name, optimizer):
    model = lenet()
    trainer = Trainer(tiny_digits, replace(RECIPE, optimizer=optimizer, lr=0.01), seed=1)
    masks = prune(model, name, 0.8, training=trainer, **DYNAMIC[name])
    kept = []
    model.register_forward_pre_hook(
        lambda m, _: kept.append(sum(int((w != 0).sum()) for w in prunable(m).values())) if m.training else None
    )
    history = trainer.finish(model, masks)
    final = history.masks.last
    assert final.kept == final.total - round(0.8 * final.total)
    assert len(kept) == 21
    budgets = dict(zip(history.masks.steps, history.masks.kept, strict=True))
    budget = masks.kept
    for step, count in enumerate(kept):
        budget = budgets.get(step, budget)
        assert count <= budget
    assert set(budgets.values()) == {masks.kept} if name != "gmp" else budget == final.kept
    for layer, weight in prunable(model).items():
        assert (weight[~final[layer]] == 0).all()
        assert (weight[final[layer]] != 0).float().mean() > 0.9


def test_the_history_tells_how_far_masks_have_moved():
    first = Masks({"a": torch.tensor([True, True, False, False])})
    history = MaskHistory.beginning(first)
    history.add(5, Masks({"a": torch.tensor([True, False, True, False])}))
    history.add(9, Masks({"a": torch.tensor([False, True, True, False])}))
    assert history.record() == {
        "steps": [5, 9], "kept": [2, 2], "overlap": [pytest.approx(1 / 3)] * 2, "ever_alive": [0.75, 0.75],
    }  # fmt: skip
    assert first["a"].tolist() == [True, True, False, False]


def test_a_method_that_keeps_its_masks_has_no_history(tiny_digits):
    model = lenet()
    assert train(model, tiny_digits, RECIPE, prune(model, "random", 0.5)).masks is None


def test_the_trainer_changes_masks_once_and_only_of_the_network_s_own_training(tiny_digits):
    trainer = Trainer(tiny_digits, RECIPE)
    assert not trainer.changes_masks
    masks = prune(lenet(), "rigl", 0.5, training=trainer, every=5)
    assert trainer.changes_masks
    trainer.finish(lenet(), masks)
    assert not trainer.changes_masks
    with pytest.raises(AutosparseError, match="which has been done or has failed: prune again"):
        trainer.finish(lenet(), masks)
    assert trainer.finish(lenet(), prune(lenet(), "random", 0.5)).masks is None


def test_a_training_with_changing_masks_is_not_graphed(tiny_digits, monkeypatch):
    asked = []
    step = Execution.step
    monkeypatch.setattr(Execution, "step", lambda self, *a: asked.append(self.cuda_graphs) or step(self, *a))
    train(lenet(), tiny_digits, RECIPE, change=Change(Spy(lambda m: m), 5, 9), execution=Execution(cuda_graphs=True))
    assert asked == [False]


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tiny_digits):
    states = []
    for _ in range(2):
        model, trainer = lenet(), Trainer(tiny_digits, RECIPE, seed=2)
        trainer.finish(model, prune(model, "set", 0.9, training=trainer, every=3, seed=2))
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("name", ["set", "rigl", "gmp"])
def test_a_training_that_diverges_before_its_masks_change_says_so(tiny_digits, name):
    trainer, model = (
        Trainer(tiny_digits, Recipe(epochs=2, batch_size=10), loss=lambda out, _: out.sum() * torch.nan),
        lenet(),
    )
    masks = prune(model, name, 0.5, training=trainer, every=2)
    with pytest.raises(NonFiniteLoss, match="weights are NaN after step 2, at which the masks change"):
        trainer.finish(model, masks)


class Stopped(KeyboardInterrupt):
    """Ctrl-C after an epoch."""


@pytest.mark.parametrize("name", DYNAMIC)
def test_a_finish_that_was_interrupted_goes_on_to_the_same_end_with_the_same_trainer(tiny_digits, name):
    states, whole, resumed = [], lenet(), lenet()

    def stop(epoch, take):
        states.append(take())
        if len(states) == 2:
            raise Stopped

    trainer = Trainer(tiny_digits, RECIPE)
    expected = trainer.finish(whole, prune(whole, name, 0.9, training=trainer, **DYNAMIC[name]))
    masks = prune(resumed, name, 0.9, training=trainer, **DYNAMIC[name])
    with pytest.raises(Stopped):
        trainer.finish(resumed, masks, on_state=stop)
    found = trainer.finish(resumed, masks, resume=states[-1])
    assert found.masks.last == expected.masks.last
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in whole.state_dict().items())


def test_a_state_goes_on_only_if_its_masks_change_as_before(tiny_digits):
    def states_of(**given):
        states = []
        train(lenet(), tiny_digits, RECIPE, on_state=lambda epoch, take: states.append(take()), **given)
        return states[0]

    change, masks = Change(Spy(lambda masks: masks), 5, 9), prune(lenet(), "random", 0.5)
    with pytest.raises(
        AutosparseError, match="of a training that changes its masks, and this one does not: prune again"
    ):
        train(lenet(), tiny_digits, RECIPE, masks, resume=states_of(masks=masks, change=change))
    with pytest.raises(AutosparseError, match="of a training that does not change its masks, and this one does so"):
        train(lenet(), tiny_digits, RECIPE, masks, change=change, resume=states_of(masks=masks))


def test_after_an_error_the_next_network_begins_at_the_beginning(tiny_digits):
    trainer = Trainer(tiny_digits, RECIPE, loss=lambda out, _: out.sum() * torch.nan)
    masks = prune(lenet(), "rigl", 0.5, training=trainer, every=2)
    with pytest.raises(NonFiniteLoss):
        trainer.finish(lenet(), masks)
    assert not trainer.changes_masks


def test_the_best_accuracy_is_one_at_the_final_sparsity(tiny_digits):
    """Gradual pruning begins dense, and its dense epochs are better than what it ends with."""
    trainer, model = Trainer(tiny_digits, replace(RECIPE, epochs=6, batch_size=20), seed=0), lenet()
    history = trainer.finish(model, prune(model, "gmp", 0.999, training=trainer, every=5))
    as_sparse = [a for a, kept in zip(history.test_accuracy, history.kept, strict=True) if kept == history.kept[-1]]
    assert 0 < len(as_sparse) < 6
    assert history.best == max(as_sparse) < max(history.test_accuracy)
    epoch = 1 + 6 - len(as_sparse) + as_sparse.index(history.best)
    assert f"best {history.best:.2f} % in epoch {epoch}," in repr(history)


@pytest.mark.parametrize("name", ["set", "rigl"])
def test_at_one_density_every_epoch_counts_for_the_best_accuracy(tiny_digits, name):
    trainer, model = Trainer(tiny_digits, RECIPE, seed=0), lenet()
    history = trainer.finish(model, prune(model, name, 0.9, training=trainer, every=2))
    assert history.kept == [history.masks.last.kept] * 3
    assert history.best == max(history.test_accuracy)


@pytest.mark.parametrize("name", DYNAMIC)
def test_a_state_in_memory_stays_as_it_was_taken(tiny_digits, name):
    """The training that goes on must not write into it: going on from it would note each change twice."""
    states = {}
    trainer, model = Trainer(tiny_digits, RECIPE, seed=0), lenet()
    masks = prune(model, name, 0.9, training=trainer, **DYNAMIC[name])
    whole = trainer.finish(model, masks, on_state=lambda epoch, take: states.setdefault(epoch, take()))
    again = lenet()
    masks = prune(again, name, 0.9, training=trainer, **DYNAMIC[name])
    resumed = trainer.finish(again, masks, resume=states[1])
    assert resumed.masks.record() == whole.masks.record()
    assert (resumed.kept, resumed.best) == (whole.kept, whole.best)
    del states[1].content["kept"]  # as an older version stored it
    masks = prune(again, name, 0.9, training=trainer, **DYNAMIC[name])
    assert trainer.finish(again, masks, resume=states[1]).best == max(whole.test_accuracy[1:])
