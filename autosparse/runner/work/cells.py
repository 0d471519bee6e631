"""Do the cells of a job: prune them one after the other, and train them together if that pays. No Ray here."""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from autosparse.autos import Scorer, load_scorer
from autosparse.criteria import CRITERIA, prune, score
from autosparse.criteria.seen import Seen, counting
from autosparse.data.split import Batch, Dataset
from autosparse.devices import clock
from autosparse.errors import AutosparseError, first_line
from autosparse.experiment.fields import BRANCH, DENSE
from autosparse.experiment.record import Json
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.files import canonical_json
from autosparse.irp import load_survival
from autosparse.masks import Masks, Scores, prunable
from autosparse.models import build_model
from autosparse.runner.work.cell_states import CellStates
from autosparse.runner.work.pruned import Pruned
from autosparse.runner.work.train_cells import Done, alike_groups, attempt, part_of, train_group
from autosparse.seeds import derive_seed, generator
from autosparse.training import Execution, State, Trainer
from autosparse.training.group_size import group_size

_scorer = functools.lru_cache(maxsize=1)(load_scorer)
_survival = functools.lru_cache(maxsize=1)(load_survival)


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

        ``seen`` counts the images that they took for the earlier cell, too. If a criterion changes the weights or
        trains, cells do not share its scores: scores alone do not repeat what else it does.
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


OnProgress = Callable[[Sequence[Cell], float | None], None]
"""Callback with the cells in hand, and the share of their final training that is done: None while they are pruned."""


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
        None: none are written or looked for. It must be None if ``scorer_of`` returns scorers that no cell names.
    :raises DeviceLost: if the error of a cell has broken this process; another process must do what is left.
    """
    last = Scored(store, scorer_of or (lambda task_id: _scorer(store.fetched("scorer", task_id) / "scorer")))
    execution = execution or Execution()
    states = None if checkpoint_every is None else CellStates(store, dataset, execution, checkpoint_every)
    if together is None:
        together = _group_size(cells, dataset, device, execution, share)
    ready = functools.partial(_ready, dataset=dataset, device=device, execution=execution, last=last, states=states)
    for start in range(0, len(cells), together):
        yield from _pack(cells[start : start + together], ready, dataset, on_progress, states)


def _pack(
    cells: Sequence[Cell],
    ready: Callable[[Cell], Pruned],
    dataset: Dataset,
    on_progress: OnProgress,
    states: CellStates | None,
) -> Iterator[list[Done]]:
    """Do a pack of cells; when it ends, nothing holds its networks, and the next pack has their memory."""
    tell = functools.partial(on_progress, cells)
    tell(None)
    tried = [(cell, attempt(ready, cell)) for cell in cells]
    failed: list[Done] = [(cell, error) for cell, error in tried if isinstance(error, Exception)]
    if failed:
        yield failed
    before = len(failed)
    for group in alike_groups([pruned for _, pruned in tried if isinstance(pruned, Pruned)]):
        yield train_group(group, dataset, part_of(tell, before / len(cells), len(group) / len(cells)), states)
        before += len(group)


def run_cell(cell: Cell, store: Store, dataset: Dataset, device: str, execution: Execution | None = None) -> Json:
    """The result of one cell."""
    [[(_, result)]] = run_cells([cell], store, dataset, device, execution=execution)
    if isinstance(result, Exception):
        raise result
    return result


def _group_size(cells: Sequence[Cell], dataset: Dataset, device: str, execution: Execution, share: float) -> int:
    """How many cells to train together; 1, with a warning, if that cannot be found out."""

    def make(seed: int) -> nn.Module:
        return build_model(cells[0].model, dataset.num_classes, dataset.input_shape, seed).to(device)

    found = attempt(group_size, make, dataset, cells[0].recipe, execution, share, len(cells))
    if isinstance(found, int):
        return found
    if not isinstance(found, torch.OutOfMemoryError):  # one network does not fit: each cell fails, and says so
        logging.getLogger(__name__).warning(
            "%d cells of %s are trained one by one, because a trial of them together failed: %s: %s",
            len(cells), cells[0].model, type(found).__name__, first_line(found),
        )  # fmt: skip
    return 1


def _ready(
    cell: Cell, dataset: Dataset, device: str, execution: Execution, last: Scored, states: CellStates | None
) -> Pruned:
    """The cell where it was when it was last kept, or newly pruned; kept at once if finding its masks took long."""
    began = time.monotonic()
    anew = functools.partial(_pruned, cell, dataset, device, execution, last)
    if states and (resumed := states.resumed(cell, device, anew)):
        return resumed
    pruned = anew()
    pruned.kept_at = began
    if states and not pruned.changes_masks and states.due([pruned]):
        states.save(pruned, functools.partial(State.before, pruned.model))
    return pruned


def _pruned(cell: Cell, dataset: Dataset, device: str, execution: Execution, last: Scored) -> Pruned:
    model = build_model(cell.model, dataset.num_classes, dataset.input_shape, cell.init_seed).to(device)
    trainer = Trainer(dataset, cell.recipe, cell.seed, execution=execution)
    with counting(model) as seen:
        masks, seconds = _masks(cell, model, trainer, last, seen)
    if masks is not None and cell.ablation == "shuffle":
        masks = masks.shuffled(cell.seed)
        trainer.meant_for(masks)
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
        return _branch_masks(cell, model, last.store), clock() - started
    criterion = CRITERIA[cell.criterion]
    given = {"seed": cell.seed, "training": trainer}
    options: dict[str, Any] = {**cell.options, **{name: given[name] for name in criterion.given & given.keys()}}
    if cell.scorer:
        options["scorer"] = last.scorer_of(cell.scorer)

    def batches() -> list[Batch]:
        return list(trainer.dataset.scoring_batches(generator(cell.seed, "score"), limit=cell.score_examples))

    if cell.ablation != "invert" and criterion.scores_for_one_sparsity:
        return prune(model, cell.criterion, cell.sparsity, batches(), **options), clock() - started
    scores, before = last.of(cell, lambda: score(model, cell.criterion, batches(), **options), seen)
    if cell.ablation == "invert":
        scores = {name: -s for name, s in scores.items()}
    return Masks.from_scores(scores, cell.sparsity), before + clock() - started


def _branch_masks(cell: Cell, model: nn.Module, store: Store) -> Masks:
    """The masks of the IRP run that ``cell`` branches from, after iteration ``cell.level``, over its initial weights.

    :param model: as initialised with ``cell.init_seed``.
    :raises AutosparseError: if its weights differ in any bit from those that the run started from.
    """
    assert cell.trunk is not None
    assert cell.level is not None
    survival = _survival(store.fetched("irp", cell.trunk.id) / "survival")
    for name, weight in prunable(model).items():
        if name not in survival.param:
            raise AutosparseError(
                f"IRP run {cell.trunk.id} knows nothing of {name!r}, a weight of {cell.model} that can be pruned: an "
                "earlier version left it out; do the run again, in a fresh --storage"
            )
        if not torch.equal(weight.detach().float().cpu(), survival.param[name]):
            raise AutosparseError(
                f"{cell.model} with seed {cell.init_seed} does not start from the weights of IRP run {cell.trunk.id} "
                f"({name!r} differs): the model has changed since; use a fresh --storage"
            )
    device = next(model.parameters()).device
    return survival.masks(cell.level).to(device)
