"""Train pruned cells, together if they have the same training ahead, and measure them. No Ray here."""

import functools
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from autosparse.analysis import measure
from autosparse.data.split import Dataset
from autosparse.devices import DeviceLost, backend, clock
from autosparse.errors import NonFiniteLoss
from autosparse.experiment.record import Json
from autosparse.experiment.tasks import Cell
from autosparse.masks import Masks
from autosparse.runner.work.cell_states import CellStates
from autosparse.runner.work.gpu_check import require_device
from autosparse.runner.work.pruned import Pruned
from autosparse.training import History, Member, Recipe, train_together
from autosparse.training.state import Take
from autosparse.weights import left_out

P = ParamSpec("P")
T = TypeVar("T")

Done = tuple[Cell, Json | Exception]
"""A cell, and its result or what went wrong."""

Tell = Callable[[float], None]
Keep = Callable[[Sequence[Pruned], int, Sequence[Take | None]], None]
"""Callback after each epoch of a group, with functions that return the state of each member."""


def alike_groups(pack: Sequence[Pruned]) -> Iterator[list[Pruned]]:
    """Groups of cells with the same training ahead; some criteria leave a network partly trained.

    A network whose masks change in training is a group of its own. A cell that resumes joins those that have done as
    many epochs.
    """
    groups: dict[tuple[Recipe, int, int], list[Pruned]] = {}
    for pruned in pack:
        if pruned.changes_masks:
            yield [pruned]
        else:
            groups.setdefault((pruned.recipe, pruned.start, pruned.epoch), []).append(pruned)
    yield from groups.values()


def train_group(group: Sequence[Pruned], dataset: Dataset, tell: Tell, states: CellStates | None) -> list[Done]:
    """Train, together if there are several, and measure."""
    started, size = clock(), len(group)

    def keep(members: Sequence[Pruned], epoch: int, takes: Sequence[Take | None]) -> None:
        """Keep the states of members after an epoch, if it is time, and unless that was the last one."""
        if states is not None and epoch < members[0].recipe.epochs and states.due(members):
            spent = (clock() - started) / size
            for pruned, take in zip(members, takes, strict=True):
                if take is not None:
                    states.save(pruned, take, spent)

    outcomes = _train(group, dataset, tell, keep)
    seconds = (clock() - started) / size
    for pruned, outcome in zip(group, outcomes, strict=True):
        if states is not None and isinstance(outcome, NonFiniteLoss):
            states.forget(pruned.cell)  # another try would go on with what has already gone wrong
    return [
        (p.cell, o if isinstance(o, Exception) else attempt(_result, p, o, dataset, p.seconds_train + seconds, size))
        for p, o in zip(group, outcomes, strict=True)
    ]


def _train(group: Sequence[Pruned], dataset: Dataset, tell: Tell, keep: Keep) -> Sequence[History | Exception]:
    """Train, together if there are several; in halves if the device's memory is too small for that."""
    recipe = group[0].recipe
    if len(group) == 1:
        [alone] = group
        outcome = attempt(
            alone.trainer.finish, alone.model, alone.masks, on_epoch=lambda epoch, _: tell(epoch / recipe.epochs),
            resume=alone.state, on_state=lambda epoch, take: keep(group, epoch, [take]),
        )  # fmt: skip
        return [outcome]
    before = [_snapshot(pruned.model) for pruned in group]
    members = [Member(pruned.model, pruned.masks, pruned.trainer.seed) for pruned in group]
    outcomes = attempt(
        train_together, members, dataset, recipe, start=group[0].start, execution=group[0].trainer.execution,
        on_epoch=lambda epoch: tell(epoch / recipe.epochs), on_states=functools.partial(keep, group),
        resume=[pruned.state for pruned in group if pruned.state],
    )  # fmt: skip
    if not isinstance(outcomes, Exception):
        return outcomes
    if not isinstance(outcomes, torch.OutOfMemoryError):
        return [outcomes] * len(group)
    for pruned, state in zip(group, before, strict=True):
        pruned.model.load_state_dict(state)
    if accelerator := backend(dataset.train.device):
        accelerator.empty_cache()
    half = len(group) // 2
    return [
        *_train(group[:half], dataset, part_of(tell, 0, 1 / 2), keep),
        *_train(group[half:], dataset, part_of(tell, 1 / 2, 1 / 2), keep),
    ]


def attempt(work: Callable[P, T], *given: P.args, **options: P.kwargs) -> T | Exception:
    """What ``work`` returns or raises, so that one cell's failure does not stop the others.

    :raises DeviceLost: if the failure has broken the device for this process.
    """
    try:
        return work(*given, **options)
    except DeviceLost:
        raise
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError):
            traceback.clear_frames(error.__traceback__)  # they hold memory that another try needs
        require_device()
        return error


def _snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the model's state, on the host because the GPU may have no room for it."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


def part_of(tell: Tell, before: float, size: float) -> Tell:
    """A callback for a part of the work: it starts at the share ``before`` of the whole, and is ``size`` of it."""
    return lambda share: tell(before + share * size)


def _result(pruned: Pruned, history: History, dataset: Dataset, seconds: float, together: int) -> Json:
    changed = history.masks
    masks = changed.last if changed else pruned.masks or Masks.dense(pruned.model)
    measured = measure(pruned.model, masks, dataset.input_shape)
    if "flops_dense" in measured:
        measured["flops_trained"] = round(history.flops_left * measured["flops_dense"])
    return {
        "test_accuracy": history.last,
        "best_accuracy": history.best,
        "history": {"train_loss": history.train_loss, "test_accuracy": history.test_accuracy},
        "sparsity": masks.sparsity,
        "kept": masks.kept,
        "total": masks.total,
        "parameters": sum(parameter.numel() for parameter in pruned.model.parameters()),
        "left_out": left_out(pruned.model).record(),
        "density_by_layer": masks.density_by_layer(),
        "collapsed_layers": masks.collapsed_layers(),
        "dataset_fingerprint": dataset.fingerprint,
        "seconds": pruned.seconds_score + seconds,
        "seconds_score": pruned.seconds_score,
        "seconds_train": seconds,
        "images": pruned.images,
        "images_score": pruned.images_score,
        "trained_together": together,
        "device": dataset.train.device.type,
        "precision": pruned.trainer.execution.precision_on(dataset.train.device),
        **({"masks_changed": changed.record()} if changed else {}),
        **({"resumed_from": list(pruned.resumed_from)} if pruned.resumed_from else {}),
        **measured,
    }
