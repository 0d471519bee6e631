"""Networks in batched kernels: the training of a :class:`autosparse.training.stack.Stack`."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from autosparse.data.split import Split
from autosparse.errors import NonFiniteLoss
from autosparse.loss import Loss
from autosparse.seeds import generator
from autosparse.training.clipping import clip_each
from autosparse.training.course import Course
from autosparse.training.execution import at_rates
from autosparse.training.history import History
from autosparse.training.loop import train_epoch
from autosparse.training.optimizer_state import on_host, put
from autosparse.training.stack import Stack
from autosparse.training.stackable import Member
from autosparse.training.state import OPTIMIZER, State, Take

Outcome = History | NonFiniteLoss
"""What became of a member; one that diverges does not stop the others."""


class SoFar(NamedTuple):
    """What has become of a member so far."""

    outcome: Outcome
    state: Take | None
    """Its state as if it trained alone; None if it has diverged."""


def train_stacked(members: Sequence[Member], course: Course, resume: Sequence[State] = ()) -> Iterator[list[SoFar]]:
    """Train in place, an epoch for each ``next``: what has become of each member so far.

    :param members: networks that can be stacked, see :func:`autosparse.training.stackable.why_not_together`.
    :param course: what is left of it after ``resume``.
    :param resume: the state of each member, at which its network already is; empty: they begin.
    """
    dataset, recipe = course.dataset, course.recipe
    assert isinstance(dataset.train, Split)
    for member in members:
        member.model.train()
        if member.masks is not None:
            member.masks.apply_(member.model)
    stack = Stack([member.model for member in members])
    optimizer = recipe.optimizer_for(stack)
    step = course.execution.step(stack, optimizer, of_each(course.training_loss), dataset.train.device)
    pruned = _pruned(stack, members)
    _hold(pruned, optimizer)
    if recipe.clip_norm is not None:
        clip_each(_owned(stack, members), optimizer, recipe.clip_norm, dict(pruned))
    if resume:
        _join(stack, optimizer, members, [state.part(OPTIMIZER) for state in resume])
    outcomes: list[Outcome] = [state.history(None) for state in resume] or [History() for _ in members]
    for epoch, steps in course.epochs():
        orders = [generator(member.seed, "order", epoch) for member in members]
        batches = dataset.train.stacked_batches(recipe.batch_size, orders, recipe.augmentation)
        mean_losses = train_epoch(stack, batches, at_rates(step, optimizer, course.rates(epoch, steps)), steps).tolist()
        stack.write_back()
        for index, (member, mean_loss) in enumerate(zip(members, mean_losses, strict=True)):
            outcome = outcomes[index]
            if isinstance(outcome, History):
                try:
                    outcome.add(mean_loss, member.model, dataset, recipe)
                except NonFiniteLoss as error:
                    outcomes[index] = error
        yield [
            SoFar(outcome, functools.partial(_state, epoch, stack, optimizer, member, index, outcome))
            if isinstance(outcome, History)
            else SoFar(outcome, None)
            for index, (member, outcome) in enumerate(zip(members, outcomes, strict=True))
        ]


def _owned(stack: Stack, members: Sequence[Member]) -> list[list[tuple[Tensor, int | None]]]:
    """The parameters of each member in the stack, see :func:`autosparse.training.clipping.clip_each`."""
    owned: list[list[tuple[Tensor, int | None]]] = [[] for _ in members]
    for name, parameter in members[0].model.named_parameters():
        values = stack.values(name)
        for index, parameters in enumerate(owned):
            parameters.append((values[index], None) if values[0].shape == parameter.shape else (values[0], index))
    return owned


def _state(
    epoch: int, stack: Stack, optimizer: torch.optim.Optimizer, member: Member, index: int, history: History
) -> State:
    """The state of one member, as if it trained alone."""
    own: dict[str, Tensor] = {}
    for name, parameter in member.model.named_parameters():
        values = stack.values(name)
        whole = values[0].shape != parameter.shape
        owner = values[0 if whole else index]
        for what, value in optimizer.state.get(owner, {}).items():
            if isinstance(value, Tensor):
                own[f"{what}/{name}"] = on_host(value[index] if whole and value.shape == owner.shape else value)
    return State.now(epoch, member.model, history, own)


def _join(
    stack: Stack, optimizer: torch.optim.Optimizer, members: Sequence[Member], states: Sequence[dict[str, Tensor]]
) -> None:
    """Let the optimiser of the stack remember what those of its members did, by names as in :func:`_state`."""
    shapes = {name: parameter.shape for name, parameter in members[0].model.named_parameters()}
    for key in states[0]:
        what, _, name = key.partition("/")
        parts, values = [state[key] for state in states], stack.values(name)
        if values[0].shape == shapes[name]:
            owned = list(zip(values, parts, strict=True))
        else:  # a count of steps is that of each member
            owned = [(values[0], torch.stack(parts) if parts[0].shape == shapes[name] else parts[0])]
        for owner, value in owned:
            put(optimizer, owner, what, value)


def of_each(loss: Loss) -> Loss:
    """The ``loss`` of each member: from logits (members * batch, classes) and labels (members, batch), (members,)."""

    def losses(logits: Tensor, y: Tensor) -> Tensor:
        return torch.stack(
            [loss(member, labels) for member, labels in zip(logits.unflatten(0, y.shape), y, strict=True)]
        )

    return losses


def _pruned(stack: Stack, members: Sequence[Member]) -> list[tuple[Tensor, Tensor]]:
    """Each tensor of weights of which some member prunes any, and a bool tensor of its shape: True where pruned."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for name in dict.fromkeys(name for member in members for name in member.masks or ()):
        values = stack.values(name)
        masks = [member.masks.get(name) if member.masks else None for member in members]
        shape = dict(members[0].model.named_parameters())[name].shape
        removed = [torch.zeros(shape, dtype=torch.bool) if mask is None else ~mask.cpu() for mask in masks]
        pruned = removed if values[0].shape == shape else [torch.stack(removed)]
        pairs += [(value, where.to(value.device)) for value, where in zip(values, pruned, strict=True)]
    return pairs


def _hold(pruned: Sequence[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    """Set what is pruned to exactly 0 after each step."""

    @torch.no_grad()
    def zero(*_: object) -> None:
        for weight, where in pruned:
            weight.masked_fill_(where, 0.0)

    optimizer.register_step_post_hook(zero)
