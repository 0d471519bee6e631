"""Do the cells of a job: prune them one after the other, and train them together where that pays. No Ray here."""

import functools
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from autosparse.analysis import measure
from autosparse.autos import Scorer, load_scorer
from autosparse.criteria import CRITERIA, prune, score
from autosparse.criteria.seen import Seen, counting
from autosparse.data.split import Batch, Dataset
from autosparse.devices import DeviceLost, backend, clock
from autosparse.errors import NonFiniteLoss
from autosparse.experiment.fields import BRANCH, DENSE
from autosparse.experiment.record import Json
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.files import canonical_json
from autosparse.masks import Masks, Scores
from autosparse.models import build_model
from autosparse.runner.work.branch import branch_masks
from autosparse.runner.work.cell_states import CellStates
from autosparse.runner.work.gpu_check import require_device
from autosparse.runner.work.pruned import Pruned
from autosparse.seeds import derive_seed, generator
from autosparse.training import Execution, History, Recipe, State, Trainer, train_together
from autosparse.training.group_size import group_size
from autosparse.training.state import Take
from autosparse.weights import left_out

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Scored:
    """The last scores, so that cells that differ only in sparsity share them."""

    store: Store
    scorer_of: Callable[[str], Scorer]
    key: str = ""
    scores: Scores = field(default_factory=dict)
    seconds: float = 0.0
    images: int = 0

    def of(self, cell: Cell, make: Callable[[], Scores], seen: Seen) -> tuple[Scores, float]:
        """A cell's scores, and the seconds that they took for an earlier cell; 0 if they are made now.

        ``seen`` then counts the images that they took for the earlier cell, too.

        Scores of a criterion that changes the weights or trains are never shared: scores alone do not repeat what else
        it does.
        """
        criterion = CRITERIA[cell.criterion]
        if criterion.changes_weights or "training" in criterion.options:
            return make(), 0.0
        key = canonical_json(cell.model_dump(mode="json", exclude={"sparsity", "ablation", "recipe"}))
        if key == self.key:
            seen.count += self.images
            return self.scores, self.seconds
        started, before = clock(), seen.count
        self.scores = make()
        self.key, self.seconds, self.images = key, clock() - started, seen.count - before
        return self.scores, 0.0


Done = tuple[Cell, Json | Exception]
"""A cell, and its result or what went wrong."""

OnProgress = Callable[[Sequence[Cell], float | None], None]
"""Callback with the cells in hand, and the share of their final training that is done: None while they are pruned."""
Tell = Callable[[float], None]
Keep = Callable[[Sequence[Pruned], int, Sequence[Take | None]], None]
"""Callback after each epoch of a group, with functions that return the state of each member."""


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    dataset: Dataset,
    device: str,
    together: int | None = None,
    execution: Execution | None = None,
    scorer_of: Callable[[str], Scorer] | None = None,
    on_progress: OnProgress = lambda cells, share: None,
    share: float = 1.0,
    checkpoint_every: float | None = None,
) -> Iterator[list[Done]]:
    """Prune at initialisation, train, and measure; yield a list of results as soon as its cells are done.

    A result depends on its cell alone, not on the cells that it trains with.

    :param cells: cells of one model and recipe.
    :param together: how many to train together; None: as :func:`autosparse.training.group_size.group_size` says.
    :param scorer_of: returns the scorer with an id; None: read it from the store.
    :param share: the share of the device that this process may use.
    :param checkpoint_every: least seconds between the checkpoints of a cell, from which it goes on in another process;
        None: none are written or looked for, as where ``scorer_of`` gives what the cells do not name.
    :raises DeviceLost: if the error of a cell has broken this process; another process must do what is left.
    """
    last = Scored(store, scorer_of or (lambda task_id: _scorer(store.fetched("scorer", task_id) / "scorer")))
    execution = execution or Execution()
    states = None if checkpoint_every is None else CellStates(store, dataset, execution, checkpoint_every)
    if together is None:
        together = _group_size(cells, dataset, device, execution, share)
    for start in range(0, len(cells), together):
        failed: list[Done] = []
        pack: list[Pruned] = []
        taken = cells[start : start + together]
        tell = functools.partial(on_progress, taken)
        tell(None)
        for cell in taken:
            pruned = _attempt(_ready, cell, dataset, device, execution, last, states)
            if isinstance(pruned, Exception):
                failed.append((cell, pruned))
            else:
                pack.append(pruned)
        if failed:
            yield failed
        before = len(failed)
        for group in _alike(pack):
            yield _trained(group, dataset, _part(tell, before / len(taken), len(group) / len(taken)), states)
            before += len(group)


def run_cell(cell: Cell, store: Store, dataset: Dataset, device: str, execution: Execution | None = None) -> Json:
    """The result of one cell."""
    [[(_, result)]] = run_cells([cell], store, dataset, device, execution=execution)
    if isinstance(result, Exception):
        raise result
    return result


def _part(tell: Tell, before: float, size: float) -> Tell:
    """A callback for a part of the work: it starts at the share ``before`` of the whole, and is ``size`` of it."""
    return lambda share: tell(before + share * size)


def _group_size(cells: Sequence[Cell], dataset: Dataset, device: str, execution: Execution, share: float) -> int:
    """How many cells to train together; 1, with a warning, if that cannot be found out."""

    def make(seed: int) -> nn.Module:
        return build_model(cells[0].model, dataset.num_classes, dataset.input_shape, seed).to(device)

    found = _attempt(group_size, make, dataset, cells[0].recipe, execution, share, len(cells))
    if isinstance(found, int):
        return found
    if not isinstance(found, torch.OutOfMemoryError):  # one network does not fit: each cell fails, and says so
        reason, _, _ = f"{type(found).__name__}: {found}".partition("\n")
        logging.getLogger(__name__).warning(
            "%d cells of %s are trained one by one, because a trial of them together failed: %s",
            len(cells), cells[0].model, reason,
        )  # fmt: skip
    return 1


def _ready(
    cell: Cell, dataset: Dataset, device: str, execution: Execution, last: Scored, states: CellStates | None
) -> Pruned:
    """The cell where it was when it was last kept, or newly pruned; kept at once if finding its masks took long."""
    began = time.monotonic()
    anew = functools.partial(_pruned, cell, dataset, device, execution, last)
    if states is None:
        return anew()
    pruned = states.resumed(cell, device, anew)
    if pruned is not None:
        return pruned
    pruned = anew()
    pruned.kept_at = began
    if not pruned.changes_masks and states.due([pruned]):
        states.save(pruned, functools.partial(State.before, pruned.model))
    return pruned


def _pruned(cell: Cell, dataset: Dataset, device: str, execution: Execution, last: Scored) -> Pruned:
    model = build_model(cell.model, dataset.num_classes, dataset.input_shape, cell.init_seed).to(device)
    trainer = Trainer(dataset, cell.recipe, cell.seed, execution=execution)
    with counting(model) as seen:
        masks, seconds = _masks(cell, model, trainer, last, seen)
    images_score = trainer.images or seen.count  # the trainer counts if the method trains on the way
    if cell.ablation == "reinit":
        fresh = derive_seed(cell.seed, "reinit")
        model = build_model(cell.model, dataset.num_classes, dataset.input_shape, fresh).to(device)
        trainer.go_on(start=0)
    return Pruned(cell, model, masks, trainer, seconds, trainer.images + trainer.images_ahead, images_score)


def _masks(cell: Cell, model: nn.Module, trainer: Trainer, last: Scored, seen: Seen) -> tuple[Masks | None, float]:
    """The masks, and the seconds that finding them takes, including scoring that was done for an earlier cell."""
    started = clock()
    if cell.criterion == DENSE:
        return None, 0.0
    if cell.criterion == BRANCH:
        return _shuffled(branch_masks(cell, model, last.store), cell), clock() - started
    criterion = CRITERIA[cell.criterion]
    options: dict[str, Any] = dict(cell.options)
    given = {"seed": cell.seed, "training": trainer}
    options |= {name: given[name] for name in criterion.given & given.keys()}
    if cell.scorer:
        options["scorer"] = last.scorer_of(cell.scorer)

    def batches() -> list[Batch]:
        return list(trainer.dataset.scoring_batches(generator(cell.seed, "score"), limit=cell.score_examples))

    if cell.ablation != "invert" and criterion.scores_for_one_sparsity:
        masks = prune(model, cell.criterion, cell.sparsity, batches(), **options)
        return _shuffled(masks, cell), clock() - started
    scores, before = last.of(cell, lambda: score(model, cell.criterion, batches(), **options), seen)
    if cell.ablation == "invert":
        scores = {name: -s for name, s in scores.items()}
    return _shuffled(Masks.from_scores(scores, cell.sparsity), cell), before + clock() - started


def _shuffled(masks: Masks, cell: Cell) -> Masks:
    return masks.shuffled(cell.seed) if cell.ablation == "shuffle" else masks


@functools.lru_cache(maxsize=1)
def _scorer(folder: Path) -> Scorer:
    return load_scorer(folder)


def _alike(pack: Sequence[Pruned]) -> Iterator[list[Pruned]]:
    """Groups with the same training ahead: some criteria leave a network partly trained.

    A network whose masks change in training is a group of its own. Cells that go on are with those that have come as
    far.
    """
    groups: dict[tuple[Recipe, int, int], list[Pruned]] = {}
    for pruned in pack:
        if pruned.changes_masks:
            yield [pruned]
        else:
            groups.setdefault((pruned.recipe, pruned.start, pruned.epoch), []).append(pruned)
    yield from groups.values()


def _trained(group: Sequence[Pruned], dataset: Dataset, tell: Tell, states: CellStates | None) -> list[Done]:
    """Train, together if there are several, and measure."""
    started, size = clock(), len(group)
    outcomes = _train(group, dataset, tell, functools.partial(_kept, states, lambda: (clock() - started) / size))
    seconds = (clock() - started) / size
    for pruned, outcome in zip(group, outcomes, strict=True):
        if states is not None and isinstance(outcome, NonFiniteLoss):
            states.forget(pruned.cell)  # another try would go on with what has already gone wrong
    return [
        (p.cell, o if isinstance(o, Exception) else _attempt(_result, p, o, dataset, p.seconds_train + seconds, size))
        for p, o in zip(group, outcomes, strict=True)
    ]


def _kept(
    states: CellStates | None,
    seconds: Callable[[], float],
    group: Sequence[Pruned],
    epoch: int,
    takes: Sequence[Take | None],
) -> None:
    """Keep the states of a group after an epoch, if it is time, and unless that was the last one.

    :param seconds: returns how long each member has been trained.
    """
    if states is not None and epoch < group[0].recipe.epochs and states.due(group):
        spent = seconds()
        for pruned, take in zip(group, takes, strict=True):
            if take is not None:
                states.save(pruned, take, spent)


def _train(group: Sequence[Pruned], dataset: Dataset, tell: Tell, keep: Keep) -> Sequence[History | Exception]:
    """Train, together if there are several; in halves if the device's memory is too small for that."""
    recipe, start = group[0].recipe, group[0].start
    if len(group) == 1:
        [alone] = group
        return [
            _attempt(
                alone.trainer.finish,
                alone.model,
                alone.masks,
                on_epoch=lambda epoch, _: tell(epoch / recipe.epochs),
                resume=alone.state,
                on_state=lambda epoch, take: keep(group, epoch, [take]),
            )
        ]
    before = [_snapshot(pruned.model) for pruned in group]
    members, execution = [pruned.member for pruned in group], group[0].trainer.execution
    outcomes = _attempt(
        train_together,
        members,
        dataset,
        recipe,
        start=start,
        execution=execution,
        on_epoch=lambda epoch: tell(epoch / recipe.epochs),
        resume=[pruned.state for pruned in group if pruned.state],
        on_states=functools.partial(keep, group),
    )
    if not isinstance(outcomes, Exception):
        return outcomes
    if not isinstance(outcomes, torch.OutOfMemoryError):
        return [outcomes] * len(group)
    for pruned, state in zip(group, before, strict=True):
        pruned.model.load_state_dict(state)
    accelerator = backend(dataset.train.device)
    if accelerator is not None:
        accelerator.empty_cache()
    half = len(group) // 2
    return [
        *_train(group[:half], dataset, _part(tell, 0, 1 / 2), keep),
        *_train(group[half:], dataset, _part(tell, 1 / 2, 1 / 2), keep),
    ]


def _attempt(work: Callable[P, T], *given: P.args, **options: P.kwargs) -> T | Exception:
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
