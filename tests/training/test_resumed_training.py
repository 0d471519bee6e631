"""A training that goes on from a state ends as one that was never interrupted, to the bit: weights, losses, masks."""

import copy
from dataclasses import replace

import pytest
import torch
from builders import Killed, lenet, same_network
from conv_nets import Conv
from conv_nets import fresh as conv
from wide_net import masks_of_wide, wide

from autosparse.compaction.sparse import SparseLinear
from autosparse.criteria import prune
from autosparse.errors import AutosparseError
from autosparse.masks import Masks
from autosparse.training import Execution, Member, Recipe, State, Trainer, graphs, train, train_together
from autosparse.training.compacted import stand_in_for

ADAM = Recipe(epochs=4, batch_size=48, lr=2e-3, milestones=(2,), weight_decay=1e-2)
MOMENTUM = replace(ADAM, optimizer="momentum", lr=0.02, augmentation="crop-flip")
SGD = replace(MOMENTUM, optimizer="sgd")
AUTO, ON, OFF = Execution(), Execution(compact="on"), Execution(compact="off")


def dropping():
    return conv(Conv, dropout=0.5)


def snip(model, data, sparsity):
    return prune(model, "snip", sparsity, list(data.train.batches(200)))


def broken_off(begin, epoch):
    """The state that a training has after ``epoch``, at which it was broken off, as a storage would give it back."""
    kept = []

    def keep(done, take):
        if done == epoch:
            kept.append(take())
            raise Killed

    with pytest.raises(Killed):
        begin(keep)
    return copy.deepcopy(kept[0])


CASES = {
    "whole, adam": (lenet, ADAM, None, OFF),
    "whole, momentum, BatchNorm, augmented": (conv, MOMENTUM, 0.5, OFF),
    "whole, sgd": (lenet, SGD, 0.5, OFF),
    "dropout": (dropping, MOMENTUM, None, OFF),
    "compact, adam": (lenet, ADAM, 0.98, ON),
    "compact, momentum": (lenet, MOMENTUM, 0.98, ON),
    "compact, BatchNorm": (conv, MOMENTUM, 0.95, ON),
    "sparse layer, adam": (wide, ADAM, masks_of_wide(), ON),
}


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_network_ends_as_if_it_had_not_been_interrupted(tiny_digits, case, epoch):
    make, recipe, masks, execution = CASES[case]
    if isinstance(masks, float):
        masks = snip(make(), tiny_digits, masks)
    options = {"masks": masks, "seed": 3, "execution": execution}
    undisturbed = make()
    history = train(undisturbed, tiny_digits, recipe, **options)
    state = broken_off(lambda keep: train(make(), tiny_digits, recipe, **options, on_state=keep), epoch)
    seen, resumed = [], make()
    with torch.no_grad():
        resumed.get_parameter(next(name for name, _ in resumed.named_parameters())).add_(1)
    found = train(resumed, tiny_digits, recipe, **options, resume=state, on_epoch=lambda number, _: seen.append(number))
    assert seen == list(range(epoch + 1, 5))
    assert (found, found.flops_left) == (history, history.flops_left)
    assert same_network(resumed, undisturbed)


def test_the_cases_are_of_the_kinds_that_they_name(tiny_digits):
    def network(case):
        make, recipe, masks, execution = CASES[case]
        masks = snip(make(), tiny_digits, masks) if isinstance(masks, float) else masks
        return stand_in_for(make(), masks, tiny_digits, recipe, execution)

    assert all(network(case).rest.values.numel() for case in CASES if case.startswith("compact, adam"))
    assert all(network(case).small is not None for case in CASES if case.startswith(("compact", "sparse")))
    layers = network("sparse layer, adam").network.modules()
    assert any(isinstance(layer, SparseLinear) for layer in layers)


@pytest.mark.parametrize("name", ["set", "rigl", "gmp"])
@pytest.mark.parametrize("recipe", [ADAM, MOMENTUM], ids=["adam", "momentum"])
def test_masks_that_change_go_on_changing_as_they_would_have(tiny_digits, name, recipe):
    def begin(model, **options):
        trainer = Trainer(tiny_digits, recipe, seed=3)
        masks = prune(model, name, 0.9, training=trainer, every=3, until=0.9)
        return trainer.finish(model, masks, **options)

    undisturbed, resumed = lenet(), lenet()
    history = begin(undisturbed)
    state = broken_off(lambda keep: begin(lenet(), on_state=keep), 2)
    found = begin(resumed, resume=state)
    assert (found.train_loss, found.test_accuracy) == (history.train_loss, history.test_accuracy)
    assert (found.masks.last, found.masks.record()) == (history.masks.last, history.masks.record())
    assert Masks(found.masks.ever) == Masks(history.masks.ever)
    assert len(history.masks.steps) > 3
    assert same_network(resumed, undisturbed)


def members(count=3, sparse=0.5):
    models = [lenet(seed) for seed in range(count)]
    some = [None, sparse, 0.98]
    return [
        Member(model, None if some[i % 3] is None else Masks(prune(model, "random", some[i % 3], seed=i)), i)
        for i, model in enumerate(models)
    ]


@pytest.mark.parametrize("recipe", [ADAM, MOMENTUM, SGD], ids=["adam", "momentum", "sgd"])
@pytest.mark.parametrize("execution", [AUTO, OFF], ids=["one is compact", "all stacked"])
def test_members_of_a_pack_go_on_alone_or_in_another_pack(tiny_digits, recipe, execution):
    undisturbed = members()
    histories = train_together(undisturbed, tiny_digits, recipe, execution=execution)
    kept = []

    def keep(epoch, takes):
        if epoch == 2:
            kept.extend(take() for take in takes)
            raise Killed

    with pytest.raises(Killed):
        train_together(members(), tiny_digits, recipe, execution=execution, on_states=keep)
    fresh = members()
    alone = train(
        fresh[1].model, tiny_digits, recipe, fresh[1].masks, fresh[1].seed, execution=execution, resume=kept[1]
    )
    pair = [fresh[2], fresh[0]]
    last, first = train_together(pair, tiny_digits, recipe, execution=execution, resume=[kept[2], kept[0]])
    assert [first, alone, last] == histories
    assert all(same_network(one.model, other.model) for one, other in zip(fresh, undisturbed, strict=True))


def test_a_network_that_began_alone_goes_on_in_a_pack(tiny_digits):
    undisturbed = members(2)
    histories = train_together(undisturbed, tiny_digits, MOMENTUM, execution=OFF)
    states = [
        broken_off(
            lambda keep, m=m: train(m.model, tiny_digits, MOMENTUM, m.masks, m.seed, execution=OFF, on_state=keep), 3
        )
        for m in members(2)
    ]
    fresh = members(2)
    assert train_together(fresh, tiny_digits, MOMENTUM, execution=OFF, resume=states) == histories
    assert all(same_network(one.model, other.model) for one, other in zip(fresh, undisturbed, strict=True))


@pytest.mark.parametrize("case", ["whole, sgd", "compact, adam"])
def test_a_training_that_has_ended_gives_its_history_again(tiny_digits, case):
    make, recipe, sparsity, execution = CASES[case]
    options = {"masks": snip(make(), tiny_digits, sparsity), "seed": 3, "execution": execution}
    undisturbed, resumed, kept = make(), make().eval(), []
    history = train(undisturbed, tiny_digits, recipe, **options, on_state=lambda _, take: kept.append(take()))
    found = train(resumed, tiny_digits, recipe, **options, resume=kept[-1])
    assert (found, found.flops_left) == (history, history.flops_left)
    assert same_network(resumed, undisturbed)
    assert resumed.training


def test_a_part_of_a_training_that_has_ended_gives_its_history_again(tiny_digits):
    kept, options = [], {"seed": 3, "stop": 3}
    history = train(lenet(), tiny_digits, ADAM, **options, on_state=lambda _, take: kept.append(take()))
    assert train(lenet(), tiny_digits, ADAM, **options, resume=kept[-1]) == history
    with pytest.raises(AutosparseError, match="not within a training of 20 steps"):
        train(lenet(), tiny_digits, ADAM, seed=3, resume=replace(kept[-1], epoch=9))


def test_masks_that_have_changed_come_with_the_history_of_a_training_that_has_ended(tiny_digits):
    def begin(**options):
        trainer, model = Trainer(tiny_digits, MOMENTUM, seed=3), lenet()
        masks = prune(model, "rigl", 0.9, training=trainer, every=3, until=0.9)
        return trainer.finish(model, masks, **options)

    kept = []
    history = begin(on_state=lambda _, take: kept.append(take()))
    found = begin(resume=kept[-1])
    assert (found.test_accuracy, found.masks.last) == (history.test_accuracy, history.masks.last)
    assert found.masks.record() == history.masks.record()


@pytest.mark.parametrize("execution", [ON, OFF], ids=["compact", "whole"])
def test_a_pack_that_has_ended_gives_its_histories_again(tiny_digits, execution):
    undisturbed, kept = members(), []
    histories = train_together(
        undisturbed, tiny_digits, MOMENTUM, execution=execution,
        on_states=lambda _, takes: kept.append([take() for take in takes]),
    )  # fmt: skip
    fresh = members()
    found = train_together(fresh, tiny_digits, MOMENTUM, execution=execution, resume=kept[-1])
    assert found == histories
    assert [one.flops_left for one in found] == [one.flops_left for one in histories]
    assert all(same_network(one.model, other.model) for one, other in zip(fresh, undisturbed, strict=True))


def test_states_of_different_epochs_do_not_go_on_together(tiny_digits):
    states = [State.before(lenet()), replace(State.before(lenet()), epoch=1)]
    with pytest.raises(AutosparseError, match="their states are of different epochs"):
        train_together(members(2), tiny_digits, ADAM, resume=states)


def test_a_graphed_training_remembers_what_its_optimiser_did(tiny_digits, monkeypatch):
    """The capture here runs the step as CUDA would before one, and its replay computes on the captured batch."""

    class Graphed(Execution):
        def step(self, model, optimizer, loss, device):
            return graphs.GraphedStep(super().step(model, optimizer, loss, device), model, optimizer)

    def capture(step, device):
        for _ in range(graphs.WARM_UP):
            step()
        return step

    monkeypatch.setattr(graphs, "capture", capture)
    recipe, undisturbed, resumed = replace(MOMENTUM, lr=2**-7), conv(), conv()  # exact in the tensor of the rate
    history = train(undisturbed, tiny_digits, recipe)
    state = broken_off(lambda keep: train(conv(), tiny_digits, recipe, on_state=keep), 2)
    assert train(resumed, tiny_digits, recipe, execution=Graphed(compact="off"), resume=state).train_loss == (
        history.train_loss
    )
    assert same_network(resumed, undisturbed)


def test_a_training_that_had_not_begun_begins_with_the_network_of_its_state(tiny_digits):
    undisturbed, other = conv(), conv(Conv)
    state = State.before(undisturbed)
    history = train(undisturbed, tiny_digits, MOMENTUM)
    with torch.no_grad():
        other.fc.weight.zero_()
    assert train(other, tiny_digits, MOMENTUM, resume=state) == history
    assert same_network(other, undisturbed)


def test_a_state_says_which_networks_it_is_of():
    state = State.before(conv())
    assert state.fits(conv())
    assert not state.fits(lenet())
    assert not state.fits(conv().double())


def test_a_state_stays_as_it_was_while_the_training_goes_on(tiny_digits):
    model, kept = lenet(), []
    train(model, tiny_digits, ADAM, on_state=lambda epoch, take: kept.append((take(), copy.deepcopy(model))))
    (state, then), *_ = kept
    assert all(torch.equal(value, then.get_parameter(name)) for name, value in state.part("model").items())
    assert state.history(None).test_accuracy == kept[-1][0].history(None).test_accuracy[:1]
