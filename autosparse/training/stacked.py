"""Networks in batched kernels: the training of a :class:`autosparse.training.stack.Stack`."""

import functools
from collections.abc import Iterator, Mapping, Sequence
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
"""What became of a member; if one diverges, the others go on."""


class SoFar(NamedTuple):
    """What has become of a member so far."""

    outcome: Outcome
    state: Take | None
    """Its state as if it trained alone; None if it has diverged."""


def train_stacked(members: Sequence[Member], course: Course, resume: Sequence[State] = ()) -> Iterator[list[SoFar]]:
    """Train in place, an epoch for each ``next``, which returns what has become of each member so far.

    :param members: networks that can be stacked, see :func:`autosparse.training.stackable.why_not_together`.
    :param course: what is left after ``resume``.
    :param resume: the state of each member, to which its network has been set; empty: they begin.
    """
    dataset, recipe = course.dataset, course.recipe
    assert isinstance(dataset.train, Split)
    for member in members:
        member.model.train()
        if member.masks is not None:
            member.masks.apply_(member.model)
    stack = Stack([member.model for member in members])
    optimizer = recipe.optimizer_for(stack)
    step = course.execution.step(stack, optimizer, of_each(recipe.loss_in_training(course.loss)), dataset.train.device)
    pruned = _pruned(stack, members)
    _hold(pruned, optimizer)
    if recipe.clip_norm is not None:
        names = [name for name, _ in members[0].model.named_parameters()]
        places = [[stack.place(name, index) for name in names] for index in range(len(members))]
        clip_each(places, optimizer, recipe.clip_norm, pruned)
    if resume:
        _join(stack, optimizer, [state.part(OPTIMIZER) for state in resume])
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


def _state(
    epoch: int, stack: Stack, optimizer: torch.optim.Optimizer, member: Member, index: int, history: History
) -> State:
    """The state of one member, as if it trained alone."""
    own: dict[str, Tensor] = {}
    for name, _ in member.model.named_parameters():
        owner, at = stack.place(name, index)
        for what, value in optimizer.state.get(owner, {}).items():
            if isinstance(value, Tensor):
                own[f"{what}/{name}"] = on_host(value if at is None or value.shape != owner.shape else value[at])
    return State.now(epoch, member.model, history, own)


def _join(stack: Stack, optimizer: torch.optim.Optimizer, states: Sequence[dict[str, Tensor]]) -> None:
    """Let the optimiser of the stack remember what those of its members did, by names as in :func:`_state`."""
    for key in states[0]:
        what, _, name = key.partition("/")
        parts = [state[key] for state in states]
        for index, part in enumerate(parts):
            owner, at = stack.place(name, index)
            if at is None:
                put(optimizer, owner, what, part)
            elif at == 0:  # a count of steps is the same for all members
                put(optimizer, owner, what, torch.stack(parts) if part.shape == owner.shape[1:] else part)


def of_each(loss: Loss) -> Loss:
    """The ``loss`` of each member: from logits (members * batch, classes) and labels (members, batch), (members,)."""

    def losses(logits: Tensor, y: Tensor) -> Tensor:
        return torch.stack([loss(*member) for member in zip(logits.unflatten(0, y.shape), y, strict=True)])

    return losses


def _pruned(stack: Stack, members: Sequence[Member]) -> dict[Tensor, Tensor]:
    """A bool tensor for each tensor that some member masks, of its shape: True for each pruned weight."""
    pruned: dict[Tensor, Tensor] = {}
    for index, member in enumerate(members):
        for name, mask in (member.masks or {}).items():
            weight, at = stack.place(name, index)
            if weight not in pruned:
                pruned[weight] = torch.zeros_like(weight, dtype=torch.bool)
            pruned[weight][... if at is None else at] = ~mask.to(weight.device)
    return pruned


def _hold(pruned: Mapping[Tensor, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Set what is pruned to exactly 0 after each step."""

    @torch.no_grad()
    def zero(*_: object) -> None:
        for weight, where in pruned.items():
            weight.masked_fill_(where, 0.0)

    optimizer.register_step_post_hook(zero)
