"""Doing the cells of a job: pruned one after the other, trained together where that pays. No Ray here."""

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
from autosparse.devices import DeviceLost, backend
from autosparse.experiment.fields import BRANCH, DENSE
from autosparse.experiment.record import Json
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.files import canonical_json
from autosparse.masks import Masks, Scores
from autosparse.models import build_model
from autosparse.runner.work.branch import branch_masks
from autosparse.runner.work.gpu_check import require_device
from autosparse.seeds import derive_seed, generator
from autosparse.training import Execution, History, Member, Recipe, Trainer, train_together
from autosparse.training.group_size import group_size
from autosparse.weights import left_out

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Pruned:
    """A cell that is ready for its training."""

    cell: Cell
    model: nn.Module
    masks: Masks | None
    trainer: Trainer
    seconds_score: float
    images: int
    """Trained on, its own training included."""
    images_score: int
    """How many images its method was shown before it had the masks, trainings on the way included."""

    @property
    def member(self) -> Member:
        """As a member of a pack."""
        return Member(self.model, self.masks, self.trainer.seed)


@dataclass
class Scored:
    """The last scores: cells of one network and method that differ in their sparsity need them once."""

    store: Store
    scorer_of: Callable[[str], Scorer]
    key: str = ""
    scores: Scores = field(default_factory=dict)
    seconds: float = 0.0
    images: int = 0

    def of(self, cell: Cell, make: Callable[[], Scores], seen: Seen) -> tuple[Scores, float]:
        """A cell's scores, and the seconds that they took for another cell; 0 if they are made now.

        ``seen`` is told of the images that they took then.

        Never those of a criterion that changes the weights or trains: they say nothing of what else it does.
        """
        criterion = CRITERIA[cell.criterion]
        if criterion.changes_weights or "training" in criterion.options:
            return make(), 0.0
        key = canonical_json(cell.model_dump(mode="json", exclude={"sparsity", "ablation", "recipe"}))
        if key == self.key:
            seen.count += self.images
            return self.scores, self.seconds
        started, before = time.perf_counter(), seen.count
        self.scores = make()
        self.key, self.seconds, self.images = key, time.perf_counter() - started, seen.count - before
        return self.scores, 0.0


Done = tuple[Cell, Json | Exception]
"""A cell, and its result or what went wrong."""

OnProgress = Callable[[Sequence[Cell], float | None], None]
"""Called with the cells in hand, and the share of their final training that is done: None while they are pruned."""
Tell = Callable[[float], None]


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
) -> Iterator[list[Done]]:
    """Prune at initialisation, train, and measure; a list as soon as its cells are done.

    A result depends on its cell alone, not on what it was trained with.

    :param cells: of one model and recipe.
    :param together: how many to train together; None: what :func:`autosparse.training.group_size.group_size` says.
    :param scorer_of: gives the scorer of an id; None: reads it from the store.
    :param share: of the device that this process is to use.
    :raises DeviceLost: if the error of a cell has broken this process: what is left is for another one.
    """
    last = Scored(store, scorer_of or (lambda task_id: _scorer(store.fetched("scorer", task_id) / "scorer")))
    execution = execution or Execution()
    if together is None:
        together = _group_size(cells, dataset, device, execution, share)
    for start in range(0, len(cells), together):
        done: list[Done] = []
        pack: list[Pruned] = []
        taken = cells[start : start + together]
        tell = functools.partial(on_progress, taken)
        tell(None)
        for cell in taken:
            pruned = _attempt(_pruned, cell, dataset, device, execution, last)
            if isinstance(pruned, Exception):
                done.append((cell, pruned))
            else:
                pack.append(pruned)
        for group in _alike(pack):
            done += _trained(group, dataset, _part(tell, len(done) / len(taken), len(group) / len(taken)))
        yield done


def run_cell(cell: Cell, store: Store, dataset: Dataset, device: str, execution: Execution | None = None) -> Json:
    """One cell's result."""
    [[(_, result)]] = run_cells([cell], store, dataset, device, execution=execution)
    if isinstance(result, Exception):
        raise result
    return result


def _part(tell: Tell, before: float, size: float) -> Tell:
    """For a part of what ``tell`` is told of, which begins at the share ``before``."""
    return lambda share: tell(before + share * size)


def _group_size(cells: Sequence[Cell], dataset: Dataset, device: str, execution: Execution, share: float) -> int:
    """How many to train together; 1 where that cannot be found out, which is told of."""

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


def _pruned(cell: Cell, dataset: Dataset, device: str, execution: Execution, last: Scored) -> Pruned:
    model = build_model(cell.model, dataset.num_classes, dataset.input_shape, cell.init_seed).to(device)
    trainer = Trainer(dataset, cell.recipe, cell.seed, execution=execution)
    with counting(model) as seen:
        masks, seconds = _masks(cell, model, trainer, last, seen)
    images_score = trainer.images or seen.count  # of one that trains on its way, as its trainer counts
    if cell.ablation == "reinit":
        fresh = derive_seed(cell.seed, "reinit")
        model = build_model(cell.model, dataset.num_classes, dataset.input_shape, fresh).to(device)
        trainer.go_on(start=0)
    return Pruned(cell, model, masks, trainer, seconds, trainer.images + trainer.images_ahead, images_score)


def _masks(cell: Cell, model: nn.Module, trainer: Trainer, last: Scored, seen: Seen) -> tuple[Masks | None, float]:
    """The masks, and the seconds that finding them takes, the scoring included where it was done for another cell."""
    started = time.perf_counter()
    if cell.criterion == DENSE:
        return None, 0.0
    if cell.criterion == BRANCH:
        return _shuffled(branch_masks(cell, model, last.store), cell), time.perf_counter() - started
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
        return _shuffled(masks, cell), time.perf_counter() - started
    scores, before = last.of(cell, lambda: score(model, cell.criterion, batches(), **options), seen)
    if cell.ablation == "invert":
        scores = {name: -s for name, s in scores.items()}
    return _shuffled(Masks.from_scores(scores, cell.sparsity), cell), before + time.perf_counter() - started


def _shuffled(masks: Masks, cell: Cell) -> Masks:
    return masks.shuffled(cell.seed) if cell.ablation == "shuffle" else masks


@functools.lru_cache(maxsize=1)
def _scorer(folder: Path) -> Scorer:
    return load_scorer(folder)


def _alike(pack: Sequence[Pruned]) -> Iterator[list[Pruned]]:
    """Those with the same training ahead: some criteria leave a network in the midst of it.

    One whose masks change on the way is trained by itself.
    """
    groups: dict[tuple[Recipe, int], list[Pruned]] = {}
    for pruned in pack:
        if pruned.trainer.changes_masks:
            yield [pruned]
        else:
            groups.setdefault(pruned.trainer.ahead, []).append(pruned)
    yield from groups.values()


def _trained(group: Sequence[Pruned], dataset: Dataset, tell: Tell) -> list[Done]:
    """Train, together if there are several, and measure."""
    started = time.perf_counter()
    outcomes = _train(group, dataset, tell)
    seconds = (time.perf_counter() - started) / len(group)
    return [
        (p.cell, o if isinstance(o, Exception) else _attempt(_result, p, o, dataset, seconds, len(group)))
        for p, o in zip(group, outcomes, strict=True)
    ]


def _train(group: Sequence[Pruned], dataset: Dataset, tell: Tell) -> Sequence[History | Exception]:
    """Train, together if there are several; where the device's memory is too small for that, in halves."""
    recipe, start = group[0].trainer.ahead
    if len(group) == 1:
        [alone] = group
        return [_attempt(alone.trainer.finish, alone.model, alone.masks, lambda epoch, _: tell(epoch / recipe.epochs))]
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
        *_train(group[:half], dataset, _part(tell, 0, 1 / 2)),
        *_train(group[half:], dataset, _part(tell, 1 / 2, 1 / 2)),
    ]


def _attempt(work: Callable[P, T], *given: P.args, **options: P.kwargs) -> T | Exception:
    """What ``work`` gives, or what it raises: one cell's failure is not another's.

    :raises DeviceLost: if it would be.
    """
    try:
        return work(*given, **options)
    except DeviceLost:
        raise
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError):
            traceback.clear_frames(error.__traceback__)  # which hold what did not fit, in the way of another try
        require_device()
        return error


def _snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """Its state, on the host: beside it on a GPU there may be no room."""
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
        **measured,
    }
