"""Recipes as people use them, against PyTorch's own optimisers and schedulers in the usual loop."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from builders import lenet
from double_net import Double
from torch import nn
from torch.optim import lr_scheduler as schedulers

from autosparse.criteria import prune
from autosparse.seeds import generator
from autosparse.training import Execution, Member, Recipe, Trainer, train, train_together
from autosparse.training.compacted import stand_in_for

ON, OFF = Execution(compact="on"), Execution(compact="off")
SGD = Recipe(optimizer="sgd", epochs=4, batch_size=48, lr=0.1, milestones=(), weight_decay=1e-3)  # 5 steps in an epoch
ADAMW = replace(SGD, optimizer="adamw", lr=3e-3, weight_decay=0.5)
STEPS, WARM = 20, 5
RECIPES = {
    "adamw": ADAMW,
    "momentum 0.8": replace(SGD, optimizer="momentum", momentum=0.8),
    "nesterov": replace(SGD, optimizer="momentum", nesterov=True),
    "cosine": replace(SGD, schedule="cosine"),
    "cosine after a warm-up": replace(ADAMW, schedule="cosine", warmup=1),
    "one-cycle": replace(ADAMW, schedule="one-cycle"),
    "milestones after a warm-up": replace(SGD, milestones=(1, 3), warmup=1),
    "smooth labels": replace(SGD, label_smoothing=0.2),
    "clipped": replace(SGD, clip_norm=0.5),
    "everything": replace(ADAMW, schedule="cosine", warmup=1, label_smoothing=0.1, clip_norm=0.5),
    "everything of momentum": replace(
        SGD, optimizer="momentum", nesterov=True, schedule="one-cycle", label_smoothing=0.1, clip_norm=0.5
    ),
}


def odd(seed=0):
    """A network with parameters that fill vector registers and others that do not, larger from seed to seed."""
    torch.manual_seed(seed)
    net = Double(nn.Sequential(nn.Flatten(), nn.Linear(64, 37), nn.ReLU(), nn.Linear(37, 10)))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1 + seed)
    return net


def lenet_in_double(seed=0):
    return Double(lenet(seed))


def scheduler_of(optimizer, recipe):
    warm = schedulers.LinearLR(optimizer, 1 / WARM, total_iters=WARM - 1) if recipe.warmup else None
    if recipe.schedule == "one-cycle":
        return schedulers.OneCycleLR(optimizer, recipe.lr, total_steps=STEPS, cycle_momentum=False)
    if recipe.schedule == "cosine":
        falling = schedulers.CosineAnnealingLR(optimizer, STEPS - (WARM if warm else 0))
        return schedulers.SequentialLR(optimizer, [warm, falling], [WARM]) if warm else falling
    falling = schedulers.MultiStepLR(optimizer, [5 * epoch for epoch in recipe.milestones], recipe.drop)
    return schedulers.ChainedScheduler([warm, falling]) if warm else falling


def optimizer_of(model, recipe):
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    momentum = recipe.momentum if recipe.optimizer == "momentum" else 0
    return torch.optim.SGD(model.parameters(), recipe.lr, momentum, 0, recipe.weight_decay, recipe.nesterov)


def usual_loop(model, data, recipe, masks, seed):
    """Train as most scripts do; returns the loss of each step."""
    optimizer = optimizer_of(model, recipe)
    scheduler, losses = scheduler_of(optimizer, recipe), []
    masked = [(model.get_parameter(name), mask) for name, mask in (masks or {}).items()]
    for epoch in range(1, recipe.epochs + 1):
        for x, y in data.train.batches(recipe.batch_size, generator(seed, "order", epoch)):
            for weight, mask in masked:
                weight.data.mul_(mask)
            loss = F.cross_entropy(model(x), y, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            for weight, mask in masked:
                weight.grad.mul_(mask)
            if recipe.clip_norm:
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    for weight, mask in masked:
        weight.data.mul_(mask)
    return losses


def masks_of(model, sparsity, seed=3):
    return None if sparsity is None else prune(model, "random", sparsity, seed=seed)


def assert_same(model, other):
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, other.get_parameter(name), rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("sparsity", [None, 0.9])
@pytest.mark.parametrize("name", RECIPES)
def test_training_is_that_of_the_usual_loop(tiny_digits, name, sparsity):
    recipe, usual, ours = RECIPES[name], odd(), odd()
    masks = masks_of(odd(), sparsity)
    losses = usual_loop(usual, tiny_digits, recipe, masks, seed=5)
    history = train(ours, tiny_digits, recipe, masks, seed=5)
    assert len(losses) == STEPS
    assert_same(ours, usual)
    sizes = torch.tensor([48, 48, 48, 48, 8.0])
    means = (torch.tensor(losses).view(-1, 5) * sizes).sum(1) / 200
    torch.testing.assert_close(torch.tensor(history.train_loss), means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_each_member_of_a_pack_ends_as_alone(tiny_digits, name):
    recipe = RECIPES[name]
    members = [Member(odd(i), masks_of(odd(i), (None, 0.5, 0.9)[i], i), i) for i in range(3)]
    alone = [copy.deepcopy(member.model) for member in members]
    for model, member in zip(alone, members, strict=True):
        train(model, tiny_digits, recipe, member.masks, member.seed, execution=OFF)
    train_together(members, tiny_digits, recipe, execution=OFF)
    for model, member in zip(alone, members, strict=True):
        assert_same(member.model, model)


@pytest.mark.parametrize("name", RECIPES)
def test_the_compact_network_ends_as_the_whole_one(tiny_digits, name):
    recipe, whole, small = RECIPES[name], lenet_in_double(), lenet_in_double()
    masks = prune(lenet_in_double(), "snip", 0.98, list(tiny_digits.train.batches(200)))
    rest = stand_in_for(lenet_in_double(), masks, tiny_digits, recipe, ON).rest
    assert rest is not None
    assert rest.values.numel() > 0, "weights that nothing reads decay"
    history = train(whole, tiny_digits, recipe, masks, execution=OFF)
    compact = train(small, tiny_digits, recipe, masks, execution=ON)
    assert compact.flops_left < 1 == history.flops_left
    torch.testing.assert_close(compact.train_loss, history.train_loss, rtol=1e-6, atol=1e-8)
    assert_same(small, whole)


@pytest.mark.parametrize("name", ["everything", "everything of momentum", "milestones after a warm-up"])
@pytest.mark.parametrize("kind", ["whole", "compact", "rigl"])
def test_a_training_goes_on_from_an_epoch_to_the_bit(tiny_digits, name, kind):
    recipe, states = RECIPES[name], []

    def begin(model, **options):
        if kind == "rigl":
            trainer = Trainer(tiny_digits, recipe, seed=3)
            return trainer.finish(model, prune(model, "rigl", 0.9, training=trainer, every=3, until=0.9), **options)
        masks = prune(lenet_in_double(), "snip", 0.98, list(tiny_digits.train.batches(200)))
        execution = ON if kind == "compact" else OFF
        return train(model, tiny_digits, recipe, masks, 3, execution=execution, **options)

    undisturbed, resumed = lenet_in_double(), lenet_in_double()
    history = begin(undisturbed, on_state=lambda epoch, take: states.append(copy.deepcopy(take())))
    found = begin(resumed, resume=states[1])
    assert found.train_loss == history.train_loss
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), undisturbed.parameters(), strict=True))


@pytest.mark.parametrize("name", ["everything", "everything of momentum"])
def test_a_pack_goes_on_from_an_epoch_as_its_members_would_have(tiny_digits, name):
    recipe, states = RECIPES[name], []
    members = [Member(odd(i), masks_of(odd(i), 0.5, i), i) for i in range(2)]
    keep = {"on_states": lambda epoch, takes: states.append([copy.deepcopy(take()) for take in takes])}
    undisturbed = train_together(members, tiny_digits, recipe, execution=OFF, **keep)
    again = [Member(odd(i), masks_of(odd(i), 0.5, i), i) for i in range(2)]
    found = train_together(again, tiny_digits, recipe, execution=OFF, resume=states[1])
    assert [h.train_loss for h in found] == [h.train_loss for h in undisturbed]
    for one, other in zip(again, members, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))
