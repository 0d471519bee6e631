"""The one training loop: every method, dense or pruned, at initialisation or inside IRP."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autosparse.data.split import Batch, Dataset
from autosparse.errors import AutosparseError
from autosparse.loss import Loss
from autosparse.mask_change import Change
from autosparse.masks import Masks
from autosparse.seeds import derive_seed, drawing_from, generator
from autosparse.training.changing import Changing, MaskHistory
from autosparse.training.clipping import clip_gradients
from autosparse.training.compacted import StandIn, stand_in_for
from autosparse.training.course import Course
from autosparse.training.execution import Execution, Step, at_rates
from autosparse.training.history import History, accuracy, require_finite
from autosparse.training.layout import channels_last
from autosparse.training.recipe import Recipe
from autosparse.training.state import State, Take

__all__ = ["Ended", "History", "accuracy", "train", "train_by_epoch", "train_epoch"]


class Ended(NamedTuple):
    """An epoch of a training that has ended."""

    epoch: int
    """Its number, from 1."""
    history: History
    """The history so far."""
    state: Take


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    masks: Masks | None = None,
    seed: int = 0,
    loss: Loss = F.cross_entropy,
    on_epoch: Callable[[int, History], None] | None = None,
    start: int = 0,
    stop: int | None = None,
    execution: Execution | None = None,
    change: Change | None = None,
    resume: State | None = None,
    on_state: Callable[[int, Take], None] | None = None,
) -> History:
    """Train ``model`` in place by ``recipe``; weights that ``masks`` remove are exactly 0 after every step.

    The model is left in training mode. While it trains, convolutions lie channels-last in memory. If the masks leave
    little to compute, the smaller network with the same function is trained in its place, see
    :mod:`autosparse.training.compacted`. The model then ends the same within rounding, except that the running
    statistics of BatchNorm channels that nothing reads stay as they were.

    :param dataset: on the model's device.
    :param seed: determines the data order, the augmentation and dropout, drawn anew for each epoch.
    :param on_epoch: called after each epoch with its number (from 1) and the history so far.
    :param start: the first step to do, counted from 0 over the whole training.
    :param stop: the step before which to end; None: after the last. With one seed, training to step k and then a copy
        from step k on sees the batches and learning rates of one whole training (the optimiser starts afresh).
    :param execution: precision and the like; accuracy is always measured without autocast.
    :param change: after which steps the masks change, and by what rule. Such a training is run neither as CUDA graphs,
        which hide the gradients, nor as a compact network. Weights that grow begin at 0, with an empty state of the
        optimiser.
    :param resume: the state that an earlier training with the same arguments reached. This one goes on from there and
        ends as that one would have, to the bit on the CPU; if nothing is left to do, the history is returned at once.
    :param on_state: called after each epoch, before ``on_epoch``, with its number and a function that returns the state
        then.
    :raises NonFiniteLoss: after the epoch in which the loss, or at the end a weight, became NaN or infinite.
    :raises AutosparseError: if ``start`` and ``stop`` are not within the training, the masks do not fit the model, or
        masks change but did not until ``resume``, or the other way round.
    """
    execution = execution or Execution()
    if change is not None:
        execution = replace(execution, cuda_graphs=False, compact="off")
    course = Course(dataset, recipe, loss, start, stop, execution)
    if resume is not None:
        _require_rule(resume, change)
        resume.put(model)
        course = course.after(resume.epoch)
    stand_in = stand_in_for(model, masks, dataset, recipe, execution)
    if resume is not None and course.ends_with(resume.epoch):
        return finished(stand_in, resume, change, recipe)
    history = History()
    for epoch, history, state in train_by_epoch(stand_in, course, seed, change, resume):
        if on_state:
            on_state(epoch, state)
        if on_epoch:
            on_epoch(epoch, history)
    return history


def train_by_epoch(
    stand_in: StandIn, course: Course, seed: int, change: Change | None = None, resume: State | None = None
) -> Iterator[Ended]:
    """Do what :func:`train` does, an epoch for each ``next``.

    :param course: what is left after ``resume``, to which the model has been set.
    """
    network, masks = stand_in.network, stand_in.masks
    dataset, recipe = course.dataset, course.recipe
    device = dataset.train.device
    optimizer = stand_in.optimizer(recipe)
    first = _first_masks(stand_in, change)
    history = resume.history(first) if resume else History()
    history.flops_left = stand_in.flops_left
    step = course.execution.step(network, optimizer, recipe.loss_in_training(course.loss), device)
    held: Changing | RemovableHandle | None = None
    if change is not None and first is not None:
        history.masks = history.masks or MaskHistory.beginning(first)
        held = Changing(change, history.masks, network, optimizer, course.start)
        step = held.after(step)
    elif masks is not None:
        held = masks.hold(network, optimizer)
    if recipe.clip_norm is not None:
        changing = history.masks
        clip_gradients(network, optimizer, recipe.clip_norm, lambda: changing.last if changing else masks)
    with channels_last(network, dataset.input_shape):
        if resume is not None:
            stand_in.resume(resume, optimizer)
        for epoch, steps in course.epochs():
            order = generator(seed, "order", epoch)
            with drawing_from(derive_seed(seed, "dropout", epoch), device):
                batches = dataset.train.batches(recipe.batch_size, order, recipe.augmentation)
                mean_loss = train_epoch(network, batches, at_rates(step, optimizer, course.rates(epoch, steps)), steps)
                stand_in.settle()
                history.add(mean_loss.item(), network, dataset, recipe)
            yield Ended(epoch, history, functools.partial(stand_in.state, epoch, optimizer, history))
    if held is not None:
        held.remove()
    require_finite(stand_in.model, recipe)


def finished(stand_in: StandIn, resume: State, change: Change | None, recipe: Recipe) -> History:
    """The history of a training that ``resume``, to which the model has been set, is the end of.

    :raises NonFiniteLoss: if a weight is NaN or infinite.
    """
    history = resume.history(_first_masks(stand_in, change))
    history.flops_left = stand_in.flops_left
    stand_in.model.train()
    require_finite(stand_in.model, recipe)
    return history


def _require_rule(resume: State, change: Change | None) -> None:
    """Raise unless the masks change now as they did up to ``resume``: else the network would end at other masks."""
    if resume.epoch and resume.changes_masks != (change is not None):
        told = "changes its masks" if resume.changes_masks else "does not change its masks"
        raise AutosparseError(
            f"this state is of a training that {told}, and this one does {'not' if change is None else 'so'}: prune "
            "again with a new Trainer, and let it finish from the state"
        )


def _first_masks(stand_in: StandIn, change: Change | None) -> Masks | None:
    """The masks that a training begins with; None if they do not change."""
    if change is None:
        return None
    return (stand_in.masks or Masks.dense(stand_in.network)).to(next(stand_in.network.parameters()).device)


def train_epoch(model: nn.Module, batches: Iterator[Batch], step: Step, steps: range) -> Tensor:
    """Do these ``steps`` of one epoch, and return the mean loss over their examples.

    The mean stays on its device, so that nothing waits for the host on the way. With labels (members, batch) and a step
    that returns a loss for each member, it is the mean of each, (members,).
    """
    model.train()
    total, examples = torch.zeros(()), 0
    for x, y in itertools.islice(batches, steps.start, steps.stop):
        total = step(x, y) * y.shape[-1] + total
        examples += y.shape[-1]
    return total / examples
