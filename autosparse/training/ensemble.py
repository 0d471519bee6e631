"""Networks that share architecture, data and recipe, trained together in batched kernels."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosparse.data.split import Dataset, Split
from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.loss import Loss
from autosparse.seeds import generator
from autosparse.training.compacted import stand_in_for
from autosparse.training.execution import Execution, set_learning_rate
from autosparse.training.loop import (
    History,
    epochs_between,
    require_finite,
    steps_per_epoch,
    train_by_epoch,
    train_epoch,
)
from autosparse.training.recipe import Recipe
from autosparse.training.stack import Stack
from autosparse.training.stackable import Member, why_not_together

Outcome = History | NonFiniteLoss
"""What became of a member; one that diverges does not stop the others."""


def train_together(
    members: Sequence[Member],
    dataset: Dataset,
    recipe: Recipe,
    loss: Loss = F.cross_entropy,
    start: int = 0,
    stop: int | None = None,
    execution: Execution | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """What :func:`autosparse.train` does, for several networks at once; each trains in place as it would alone.

    A member sees its own data order, augmentation, masks, BatchNorm statistics and optimiser state. Members that are
    trained as compact networks, see :class:`Execution`, take their epochs in turns with the others. On the CPU
    networks whose only parameters are those of linear layers come out bit for bit as alone on one thread, others within
    floating-point noise.

    :param members: networks of one architecture, on the data set's device.
    :param on_epoch: called after each epoch with its number (from 1).
    :raises AutosparseError: if they cannot be stacked, see :func:`why_not_together`.
    """
    reason = why_not_together(members, dataset, loss)
    if reason is not None:
        raise AutosparseError(f"these networks cannot be trained together: {reason}; use autosparse.train for each")
    return _train(members, dataset, recipe, loss, start, stop, execution or Execution(), on_epoch)


def _train(
    members: Sequence[Member],
    dataset: Dataset,
    recipe: Recipe,
    loss: Loss,
    start: int,
    stop: int | None,
    execution: Execution,
    on_epoch: Callable[[int], None] | None,
) -> list[Outcome]:
    stand_ins = [stand_in_for(m.model, m.masks, dataset, recipe, execution) for m in members]
    stacked = [index for index, stand_in in enumerate(stand_ins) if stand_in.small is None]
    if len(stacked) == 1:
        stacked = []
    given = (dataset, recipe)
    running: list[tuple[list[int], Iterator[list[Outcome]]]] = [
        ([index], _alone(train_by_epoch(stand_in, *given, members[index].seed, loss, start, stop, execution)))
        for index, stand_in in enumerate(stand_ins)
        if index not in stacked
    ]
    if stacked:
        whole = [members[index] for index in stacked]
        running.append((stacked, _stacked(whole, *given, loss, start, stop, execution)))
    outcomes: list[Outcome] = [History() for _ in members]
    for epoch, _ in epochs_between(start, stop, steps_per_epoch(dataset, recipe), recipe.epochs):
        for indices, part in running:
            for index, outcome in zip(indices, next(part), strict=True):
                outcomes[index] = outcome
        if on_epoch:
            on_epoch(epoch)
    for indices, part in running:  # to their ends, where weights get their layout back
        for index, outcome in zip(indices, next(part, ()), strict=False):
            outcomes[index] = outcome
    return [_finite(member.model, outcome, recipe) for member, outcome in zip(members, outcomes, strict=True)]


def _alone(epochs: Iterator[tuple[int, History]]) -> Iterator[list[Outcome]]:
    """A member by itself; after it has diverged, what it ended with."""
    try:
        for _, history in epochs:
            yield [history]
    except NonFiniteLoss as error:
        while True:
            yield [error]


def _stacked(
    members: Sequence[Member],
    dataset: Dataset,
    recipe: Recipe,
    loss: Loss,
    start: int,
    stop: int | None,
    execution: Execution,
) -> Iterator[list[Outcome]]:
    """Members in batched kernels, an epoch for each ``next``: what has become of each so far."""
    assert isinstance(dataset.train, Split)
    for member in members:
        member.model.train()
        if member.masks is not None:
            member.masks.apply_(member.model)
    stack = Stack([member.model for member in members])
    optimizer = recipe.optimizer_for(stack)
    step = execution.step(stack, optimizer, of_each(loss), dataset.train.device)
    _hold(_pruned(stack, members), optimizer)
    outcomes: list[Outcome] = [History() for _ in members]
    for epoch, steps in epochs_between(start, stop, steps_per_epoch(dataset, recipe), recipe.epochs):
        set_learning_rate(optimizer, recipe.lr_in(epoch))
        draws = [generator(member.seed, "order", epoch) for member in members]
        batches = dataset.train.stacked_batches(recipe.batch_size, draws, recipe.augmentation)
        means = train_epoch(stack, batches, step, steps)
        stack.write_back()
        for index, (member, mean) in enumerate(zip(members, means.tolist(), strict=True)):
            outcome = outcomes[index]
            if isinstance(outcome, History):
                try:
                    outcome.add(mean, member.model, dataset, recipe)
                except NonFiniteLoss as error:
                    outcomes[index] = error
        yield outcomes


def of_each(loss: Loss) -> Loss:
    """``loss`` of each member: logits (members * batch, classes) and labels (members, batch) -> (members,)."""

    def losses(logits: Tensor, y: Tensor) -> Tensor:
        return torch.stack(
            [loss(member, labels) for member, labels in zip(logits.unflatten(0, y.shape), y, strict=True)]
        )

    return losses


def _pruned(stack: Stack, members: Sequence[Member]) -> list[tuple[Tensor, Tensor]]:
    """Tensors of the weights that some member prunes, each with True if they are pruned."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for name in dict.fromkeys(name for member in members for name in member.masks or ()):
        values = stack.values(name)
        kept = [member.masks.get(name) if member.masks else None for member in members]
        shape = dict(members[0].model.named_parameters())[name].shape
        removed = [torch.zeros(shape, dtype=torch.bool) if mask is None else ~mask.cpu() for mask in kept]
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


def _finite(model: nn.Module, outcome: Outcome, recipe: Recipe) -> Outcome:
    try:
        require_finite(model, recipe)
    except NonFiniteLoss as error:
        return outcome if isinstance(outcome, NonFiniteLoss) else error
    return outcome
