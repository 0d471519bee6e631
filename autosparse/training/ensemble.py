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
from autosparse.training.loop import Ended, finished, train_by_epoch
from autosparse.training.recipe import Recipe
from autosparse.training.stackable import Member, why_not_together
from autosparse.training.stacked import Outcome, SoFar, train_stacked
from autosparse.training.state import State, Take


def train_together(
    members: Sequence[Member],
    dataset: Dataset,
    recipe: Recipe,
    loss: Loss = F.cross_entropy,
    start: int = 0,
    stop: int | None = None,
    execution: Execution | None = None,
    on_epoch: Callable[[int], None] | None = None,
    resume: Sequence[State] = (),
    on_states: Callable[[int, list[Take | None]], None] | None = None,
) -> list[Outcome]:
    """Do what :func:`autosparse.train` does, for several networks at once; each trains in place as it would alone.

    Each member has its own data order, augmentation, masks, BatchNorm statistics and optimiser state. Members that are
    trained as compact networks, see :class:`Execution`, take their epochs in turns with the others. On the CPU,
    networks whose only parameters are those of linear layers end with the same bits as if each trained alone on one
    thread; others agree within floating-point noise. Parameters ``start``, ``stop`` and ``execution`` are those of
    :func:`autosparse.train`.

    :param members: networks of one architecture, on the data set's device.
    :param on_epoch: called after each epoch with its number (from 1).
    :param resume: the states of all members at the end of one epoch, from which they go on; until then each may have
        trained alone or with others. Empty: they begin.
    :param on_states: called after each epoch, before ``on_epoch``, with its number and for each member a function that
        returns its state; None in place of a member that has diverged.
    :return: for each member its history, or the error if it diverged; that does not stop the others.
    :raises AutosparseError: if they cannot be stacked, see :func:`why_not_together`, or masks do not fit.
    """
    reason = why_not_together(members, dataset, loss)
    if reason is not None:
        raise AutosparseError(f"these networks cannot be trained together: {reason}; use autosparse.train for each")
    course = Course(dataset, recipe, loss, start, stop, execution or Execution())
    if resume:
        if len({state.epoch for state in resume}) > 1:
            raise AutosparseError(
                "cannot resume these networks together: their states are of different epochs; resume each with "
                "autosparse.train"
            )
        course = course.after(resume[0].epoch)
        for member, state in zip(members, resume, strict=True):
            state.put(member.model)
        if course.ends_with(resume[0].epoch):
            return [_finished(member, course, state) for member, state in zip(members, resume, strict=True)]
    running = _parts(members, course, resume)
    found = [SoFar(History(), None) for _ in members]
    for epoch, _ in course.epochs():
        for indices, part in running:
            for index, so_far in zip(indices, next(part), strict=True):
                found[index] = so_far
        if on_states:
            on_states(epoch, [so_far.state for so_far in found])
        if on_epoch:
            on_epoch(epoch)
    for indices, part in running:  # to their ends, at which weights get their layout back
        for index, so_far in zip(indices, next(part, ()), strict=False):
            found[index] = so_far
    return [_finite(member.model, so_far.outcome, recipe) for member, so_far in zip(members, found, strict=True)]


def _parts(
    members: Sequence[Member], course: Course, resume: Sequence[State]
) -> list[tuple[list[int], Iterator[list[SoFar]]]]:
    """The trainings that take turns, each with the positions of its members: compact ones alone, others stacked."""
    stand_ins = [stand_in_for(m.model, m.masks, course.dataset, course.recipe, course.execution) for m in members]
    stacked = [index for index, stand_in in enumerate(stand_ins) if stand_in.small is None]
    if len(stacked) == 1:
        stacked = []
    states: Sequence[State | None] = resume or [None] * len(members)
    parts = [
        ([index], _alone(train_by_epoch(stand_in, course, members[index].seed, resume=states[index])))
        for index, stand_in in enumerate(stand_ins)
        if index not in stacked
    ]
    if stacked:
        own = [resume[index] for index in stacked] if resume else []
        parts.append((stacked, train_stacked([members[index] for index in stacked], course, own)))
    return parts


def _finished(member: Member, course: Course, resume: State) -> Outcome:
    """The outcome of a member whose training ``resume`` is the end of."""
    stand_in = stand_in_for(member.model, member.masks, course.dataset, course.recipe, course.execution)
    try:
        return finished(stand_in, resume, None, course.recipe)
    except NonFiniteLoss as error:
        return error


def _alone(epochs: Iterator[Ended]) -> Iterator[list[SoFar]]:
    """Train a member by itself; after it has diverged, yield the error again and again."""
    try:
        for ended in epochs:
            yield [SoFar(ended.history, ended.state)]
    except NonFiniteLoss as error:
        while True:
            yield [SoFar(error, None)]


def _finite(model: nn.Module, outcome: Outcome, recipe: Recipe) -> Outcome:
    """``outcome``; an error in its place if it is a history but a weight is not finite."""
    try:
        require_finite(model, recipe)
    except NonFiniteLoss as error:
        return outcome if isinstance(outcome, NonFiniteLoss) else error
    return outcome
