"""Training by the compact network: the same losses, and in the end the same full network."""

import copy
import logging
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from builders import lenet
from conv_nets import Conv
from conv_nets import fresh as conv
from double_net import Double
from torch import nn
from wide_net import masks_of_wide, wide

from autosparse.compaction import hook_on
from autosparse.compaction.sparse import SparseLinear
from autosparse.criteria import prune, score
from autosparse.criteria.seen import counting
from autosparse.errors import NonFiniteLoss, UnknownName
from autosparse.masks import Masks
from autosparse.training import Execution, Member, Recipe, Trainer, train, train_together
from autosparse.training.compacted import stand_in_for

ON, OFF = Execution(compact="on"), Execution(compact="off")
ADAM = Recipe(epochs=12, batch_size=12, lr=1e-3, milestones=(6,), weight_decay=1e-2)  # 200 steps and more
MOMENTUM = replace(ADAM, optimizer="momentum", lr=0.02)


class Block(nn.Module):
    """A residual block between convolutions, all with BatchNorm."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.one, self.one_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.two_norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.stem_norm(self.stem(x)).relu()
        x = (x + self.two_norm(self.two(self.one_norm(self.one(x)).relu()))).relu()
        return self.head(x.mean((2, 3)))


def block():
    torch.manual_seed(0)
    return Block()


def masks_of(model, data, criterion="random", sparsity=0.95):
    return prune(
        model, criterion, sparsity, list(data.train.batches(200)), **{"seed": 3} if criterion == "random" else {}
    )


def both(make, data, recipe, criterion="random", sparsity=0.95, masks=None):
    """The full network after training, its history, and the losses of each step; whole, then compact."""
    found = []
    for execution in (OFF, ON):
        model, losses = make(), []

        def noting(logits, y, losses=losses):
            value = F.cross_entropy(logits, y)
            losses.append(value.item())
            return value

        masks = masks or masks_of(model, data, criterion, sparsity)
        history = train(model, data, recipe, masks, seed=5, loss=noting, execution=execution)
        found.append((model, history, losses))
    return found


RECIPES = {
    "sgd": replace(MOMENTUM, optimizer="sgd"),
    "momentum": MOMENTUM,
    "augmented": replace(MOMENTUM, augmentation="crop-flip"),
    "adam": ADAM,
}


@pytest.mark.parametrize("make", [lenet, conv, block])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    ("criterion", "sparsity"), [pytest.param("random", 0.95, marks=pytest.mark.slow), ("snip", 0.98)]
)
def test_losses_of_200_steps_and_the_full_network_are_those_of_training_it_whole(
    tiny_digits, make, recipe, criterion, sparsity
):
    (whole, history, losses), (model, compact_history, compact_losses) = both(
        lambda: Double(make()), tiny_digits, RECIPES[recipe], criterion, sparsity
    )
    assert len(losses) > 200
    torch.testing.assert_close(compact_losses, losses, rtol=1e-8, atol=1e-8)
    assert compact_history.flops_left < 1 == history.flops_left
    assert compact_history.test_accuracy == history.test_accuracy
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, whole.get_parameter(name), rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize("make", [lenet, conv])
@pytest.mark.parametrize("recipe", ["momentum", "adam"])
def test_losses_in_float32_differ_by_rounding_alone(tiny_digits, make, recipe):
    (_, history, losses), (_, compact_history, compact_losses) = both(make, tiny_digits, RECIPES[recipe], "snip", 0.95)
    torch.testing.assert_close(compact_losses, losses, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compact_history.test_accuracy, history.test_accuracy, rtol=0, atol=100 / 90 + 1e-6)


def test_weights_that_nothing_reads_decay_as_in_the_whole_network(tiny_digits):
    for recipe in (ADAM, MOMENTUM, replace(MOMENTUM, optimizer="sgd")):
        (whole, _, _), (model, _, _) = both(lenet, tiny_digits, recipe, "snip", 0.98)
        masks = masks_of(lenet(), tiny_digits, "snip", 0.98)
        stand_in = stand_in_for(lenet(), masks, tiny_digits, recipe, ON)
        for name, where in stand_in.rest.slots.items():
            before, after = lenet().get_parameter(name).flatten()[where], model.get_parameter(name).flatten()[where]
            torch.testing.assert_close(after, whole.get_parameter(name).flatten()[where])
            assert (after.abs() < before.abs())[before != 0].all()
        assert sum(map(len, stand_in.rest.slots.values())) > 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_sparse_layers_train_as_the_whole_network_does(tiny_digits, recipe):
    masks = Masks({f"inner.{name}": mask for name, mask in masks_of_wide().items()})
    network = stand_in_for(Double(wide()), masks, tiny_digits, RECIPES[recipe], ON).network
    assert any(isinstance(layer, SparseLinear) for layer in network.modules())
    (whole, _, losses), (model, _, sparse_losses) = both(
        lambda: Double(wide()), tiny_digits, RECIPES[recipe], masks=masks
    )
    torch.testing.assert_close(sparse_losses, losses, rtol=1e-8, atol=1e-8)
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, whole.get_parameter(name), rtol=1e-6, atol=1e-7, msg=name)


def test_layers_are_not_sparse_in_bfloat16(tiny_digits):
    how = Execution("bfloat16", compact="on")
    network = stand_in_for(wide(), masks_of_wide(), tiny_digits, ADAM, how).network
    assert not any(isinstance(layer, SparseLinear) for layer in network.modules())


def test_pruned_weights_are_zero_and_the_layout_is_as_before(tiny_digits):
    model = conv()
    strides = [parameter.stride() for parameter in model.parameters()]
    masks = masks_of(model, tiny_digits)
    train(model, tiny_digits, replace(MOMENTUM, epochs=1), masks, execution=ON)
    assert all(torch.equal(model.get_parameter(name) != 0, mask) for name, mask in masks.items())
    assert strides == [parameter.stride() for parameter in model.parameters()]
    assert model.training


def test_statistics_of_what_is_read_go_on_and_others_stay(tiny_digits):
    (whole, _, _), (model, _, _) = both(block, tiny_digits, MOMENTUM)
    masks = masks_of(block(), tiny_digits)
    small = stand_in_for(block(), masks, tiny_digits, MOMENTUM, ON).small
    read = small.places["one_norm.running_mean"]
    gone = torch.ones(8, dtype=torch.bool)
    gone[read] = False
    torch.testing.assert_close(model.one_norm.running_var[read], whole.one_norm.running_var[read], rtol=1e-3, atol=1e-4)
    assert gone.any()
    assert (model.one_norm.running_var[gone] == 1).all()


def test_a_part_of_a_training_is_that_of_the_whole(tiny_digits):
    models = [lenet(), lenet()]
    masks = masks_of(models[0], tiny_digits)
    for model, execution in zip(models, (OFF, ON), strict=True):
        train(model, tiny_digits, replace(ADAM, epochs=3), masks, start=5, stop=40, execution=execution)
    for whole, compact in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(compact, whole, rtol=1e-3, atol=1e-5)


def test_the_full_network_is_up_to_date_after_each_epoch(tiny_digits):
    model, seen = lenet(), []
    masks = masks_of(model, tiny_digits)
    recipe = replace(ADAM, epochs=2)
    train(
        model,
        tiny_digits,
        recipe,
        masks,
        execution=ON,
        on_epoch=lambda *_: seen.append(copy.deepcopy(model.fc1.weight)),
    )
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], model.fc1.weight)


@pytest.mark.parametrize(("sparsity", "taken"), [(0.3, False), (0.6, False), (0.98, True)])
def test_auto_takes_it_where_enough_comes_off(tiny_digits, sparsity, taken):
    masks = masks_of(lenet(), tiny_digits, "snip", sparsity)
    auto, on = (
        train(lenet(), tiny_digits, replace(ADAM, epochs=1), masks, execution=execution).flops_left
        for execution in (Execution(), ON)
    )
    assert on < 1
    assert auto == (on if taken else 1.0)


def test_off_trains_the_network_whole(tiny_digits):
    model = lenet()
    masks = Masks.from_scores(score(model, "random"), 0.99)
    assert train(model, tiny_digits, replace(ADAM, epochs=1), masks, execution=OFF).flops_left == 1.0


class Deciding(Conv):
    def forward(self, x):
        return super().forward(x) if len(x) else x


@pytest.mark.parametrize(
    ("make", "reason"),
    [(Deciding, "its forward cannot be traced"), (lambda: Conv(dropout=0.5), "its forward draws at random")],
)
def test_a_network_that_cannot_be_trained_compact_is_trained_whole_and_a_line_says_so(
    tiny_digits, caplog, make, reason
):
    models = [make(), make()]
    models[1].load_state_dict(models[0].state_dict())
    masks = Masks.from_scores(score(models[0], "random"), 0.95)
    with caplog.at_level(logging.WARNING):
        for model, execution in zip(models, (OFF, ON), strict=True):
            train(model, tiny_digits, replace(ADAM, epochs=1), masks, execution=execution)
    assert reason in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_a_training_that_diverges_is_reported(tiny_digits):
    model = lenet()
    with pytest.raises(NonFiniteLoss):
        train(model, tiny_digits, replace(MOMENTUM, lr=1e30), masks_of(model, tiny_digits), execution=ON)


def test_another_word_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'off'"):
        Execution(compact="offf")


@pytest.mark.parametrize("sparsities", [(0.5, 0.98, 0.99, 0.2), (0.98, 0.5), (0.98, 0.98)])
def test_a_pack_trains_its_compact_members_as_alone_and_the_others_together(tiny_digits, sparsities):
    def members():
        models = [lenet(seed) for seed in range(len(sparsities))]
        masks = [masks_of(m, tiny_digits, "snip", s) for m, s in zip(models, sparsities, strict=True)]
        return [Member(m, k, seed) for seed, (m, k) in enumerate(zip(models, masks, strict=True))]

    recipe, packed, lonely, epochs = replace(ADAM, epochs=2), members(), members(), []
    histories = train_together(packed, tiny_digits, recipe, on_epoch=epochs.append)
    assert epochs == [1, 2]
    for one, other, history in zip(packed, lonely, histories, strict=True):
        alone = train(other.model, tiny_digits, recipe, other.masks, other.seed)
        assert (history, history.flops_left) == (alone, alone.flops_left)
        for a, b in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    assert [h.flops_left < 1 for h in histories] == [s > 0.9 for s in sparsities]


def test_a_compact_member_that_diverges_leaves_the_others_as_they_were(tiny_digits):
    models = [lenet(seed) for seed in range(2)]
    members = [Member(m, masks_of(m, tiny_digits, "snip", 0.98), 0) for m in models]
    models[0].fc3.bias.data[0] = torch.inf
    diverged, other = train_together(members, tiny_digits, replace(ADAM, epochs=2))
    assert isinstance(diverged, NonFiniteLoss)
    assert len(other.test_accuracy) == 2


@pytest.mark.parametrize(("name", "options"), [("lth", {}), ("ltr", {"rewind": 0.25}), ("snip-iter", {})])
def test_methods_that_train_on_the_way_do_so_compactly_and_their_images_are_counted(
    tiny_digits, name, options, monkeypatch, caplog
):
    stand_ins, told = [], []

    def noting(*given):
        stand_ins.append(stand_in_for(*given))
        return stand_ins[-1]

    monkeypatch.setattr("autosparse.training.loop.stand_in_for", noting)
    recipe = replace(ADAM, epochs=2, milestones=())
    for execution in (OFF, ON):
        model, trainer = lenet(), Trainer(tiny_digits, recipe, seed=3, execution=execution)
        with counting(model) as seen:
            masks = prune(
                model, name, 0.98, list(tiny_digits.train.batches(200)), training=trainer, rounds=3, **options
            )
        assert seen.count > trainer.images > 0  # counts the images that accuracy is measured on, too
        told.append((seen.count, trainer.images, masks.kept))
        assert hook_on(model) is None
    assert told[0] == told[1]
    assert stand_ins[-1].flops_left < 1
    assert "trained whole" not in caplog.text


def test_a_hook_that_is_not_ours_keeps_the_network_whole_also_while_images_are_counted(tiny_digits):
    model = lenet()
    masks = masks_of(model, tiny_digits)
    with counting(model), model.register_forward_hook(lambda *_: None):
        stand_in = stand_in_for(model, masks, tiny_digits, ADAM, ON)
    assert stand_in.network is model
