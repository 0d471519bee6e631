"""Networks that share architecture, data and recipe, trained together in batched kernels."""

from collections.abc import Callable, Iterator, Sequence

import torch.nn.functional as F
from torch import nn

from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.loss import Loss
from autosparse.training.compacted import stand_in_for
from autosparse.training.course import Course
from autosparse.training.execution import Execution
from autosparse.training.history import History, require_finite
from autosparse.training.loop import train_by_epoch
from autosparse.training.recipe import Recipe
from autosparse.training.stackable import Member, why_not_together
from autosparse.training.stacked import Outcome, train_stacked


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
    """Do what :func:`autosparse.train` does, for several networks at once; each trains in place as it would alone.

    A member sees its own data order, augmentation, masks, BatchNorm statistics and optimiser state. Members that are
    trained as compact networks, see :class:`Execution`, take their epochs in turns with the others. On the CPU networks
    whose only parameters are those of linear layers come out bit for bit as alone on one thread, others within
    floating-point noise. Parameters ``start``, ``stop`` and ``execution`` are those of :func:`autosparse.train`.

    :param members: networks of one architecture, on the data set's device.
    :param on_epoch: called after each epoch with its number (from 1).
    :return: for each member its history, or the error if it diverged; that does not stop the others.
    :raises AutosparseError: if they cannot be stacked, see :func:`why_not_together`, or masks do not fit.
    """
    reason = why_not_together(members, dataset, loss)
    if reason is not None:
        raise AutosparseError(f"these networks cannot be trained together: {reason}; use autosparse.train for each")
    return _train(members, Course(dataset, recipe, loss, start, stop, execution or Execution()), on_epoch)


def _train(members: Sequence[Member], course: Course, on_epoch: Callable[[int], None] | None) -> list[Outcome]:
    running = _parts(members, course)
    outcomes: list[Outcome] = [History() for _ in members]
    for epoch, _ in course.epochs():
        for indices, part in running:
            for index, outcome in zip(indices, next(part), strict=True):
                outcomes[index] = outcome
        if on_epoch:
            on_epoch(epoch)
    for indices, part in running:  # to their ends, where weights get their layout back
        for index, outcome in zip(indices, next(part, ()), strict=False):
            outcomes[index] = outcome
    return [_finite(member.model, outcome, course.recipe) for member, outcome in zip(members, outcomes, strict=True)]


def _parts(members: Sequence[Member], course: Course) -> list[tuple[list[int], Iterator[list[Outcome]]]]:
    """The trainings to go on in turns, each with the positions of its members: compact ones alone, others stacked."""
    stand_ins = [stand_in_for(m.model, m.masks, course.dataset, course.recipe, course.execution) for m in members]
    stacked = [index for index, stand_in in enumerate(stand_ins) if stand_in.small is None]
    if len(stacked) == 1:
        stacked = []
    parts = [
        ([index], _alone(train_by_epoch(stand_in, course, members[index].seed)))
        for index, stand_in in enumerate(stand_ins)
        if index not in stacked
    ]
    if stacked:
        parts.append((stacked, train_stacked([members[index] for index in stacked], course)))
    return parts


def _alone(epochs: Iterator[tuple[int, History]]) -> Iterator[list[Outcome]]:
    """Train a member by itself; after it has diverged, what it ended with."""
    try:
        for _, history in epochs:
            yield [history]
    except NonFiniteLoss as error:
        while True:
            yield [error]


def _finite(model: nn.Module, outcome: Outcome, recipe: Recipe) -> Outcome:
    """``outcome``, or an error if it is none but a weight is not finite."""
    try:
        require_finite(model, recipe)
    except NonFiniteLoss as error:
        return outcome if isinstance(outcome, NonFiniteLoss) else error
    return outcome
