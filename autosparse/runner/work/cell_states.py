"""Save the state of cells in training to the storage, so that an interrupted cell can continue.

Only the training of the pruned network is saved, once it has its masks. If a criterion trains networks to find its
masks and is interrupted there, it begins again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch

from autosparse.data.split import Dataset
from autosparse.experiment.record import Json
from autosparse.experiment.resolved import resolve
from autosparse.experiment.sources import code_of
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.files import content_id
from autosparse.masks import Masks
from autosparse.models import build_model
from autosparse.runner.work.checkpointing import at_most_a_warning, computed_with
from autosparse.runner.work.network_sketch import Sketch, alike, sketch_of
from autosparse.runner.work.pruned import Pruned
from autosparse.storage.checkpoints import Checkpoints
from autosparse.training import Execution, Recipe, State, Trainer

MASKS = "masks"


class CellStates:
    """The checkpoints of cells that train on one data set in one way.

    One counts only for a cell with the same values, inputs, data and user's code, computed in the same way by the same
    versions, and only if the network began with the same weights.
    """

    def __init__(self, store: Store, dataset: Dataset, execution: Execution, every: float):
        """:param every: least seconds between the checkpoints of a cell."""
        self.store, self.dataset, self.execution, self.every = store, dataset, execution, every
        self._there = set(store.steps())
        self._known: dict[str, tuple[Checkpoints, Sketch]] = {}

    def due(self, cells: Sequence[Pruned]) -> bool:
        """Whether the last checkpoint of any of these cells is old enough to write another."""
        return time.monotonic() - min(pruned.kept_at for pruned in cells) >= self.every

    def save(self, pruned: Pruned, take: Callable[[], State], seconds_train: float = 0.0) -> None:
        """Keep the state of a cell; if that cannot be done, a warning says so, and the cell goes on without.

        :param seconds_train: seconds that this process has trained it.
        :raises CannotWrite: if the storage is full, or refuses to be written.
        """
        with at_most_a_warning(f"cell {pruned.cell.id} goes on without a checkpoint of it"):
            state = take()
            checkpoints, initial = self._of(pruned.cell)
            tensors = {f"{MASKS}/{name}": mask for name, mask in (pruned.masks or {}).items()}
            content = {
                "initial_network": initial,
                "training": state.content,
                "recipe": asdict(pruned.recipe),
                "start": pruned.start,
                "masks": None if pruned.masks is None else list(pruned.masks),
                "changes_masks": pruned.changes_masks,
                "images": pruned.images,
                "images_score": pruned.images_score,
                "seconds_score": pruned.seconds_score,
                "seconds_train": pruned.seconds_train + seconds_train,
                "resumed_from": pruned.resumed_from,
            }
            checkpoints.save(state.epoch, {**state.tensors, **tensors}, content)
            self._there.add(pruned.cell.id)
        pruned.kept_at = time.monotonic()

    def resumed(self, cell: Cell, device: str, prune: Callable[[], Pruned]) -> Pruned | None:
        """The cell as it was when it was last kept; None if it has no checkpoint that counts.

        :param prune: prunes the network of the cell. It is done again only if the masks change in training, because the
            criterion knows by what rule.
        :raises Unreachable: if the storage does not answer.
        """
        found = self.store.states(cell, self._mark(cell)).newest() if cell.id in self._there else None
        if found is None:
            return None
        content, model = found.content, self._initial(cell)
        state = State(found.step, found.tensors, content["training"])
        if not alike(content["initial_network"], sketch_of(model)) or not state.fits(model):
            return None
        masks = None
        if content["masks"] is not None:
            masks = Masks({name: found.tensors[f"{MASKS}/{name}"] for name in content["masks"]}).to(device)
        if content["changes_masks"]:
            pruned = prune()
            if pruned.masks != masks:
                return None
            pruned.seconds_score += content["seconds_score"]
        else:
            trainer = Trainer(self.dataset, cell.recipe, cell.seed, execution=self.execution)
            milestones = tuple(content["recipe"]["milestones"])  # a list in JSON
            trainer.train_by(Recipe(**{**content["recipe"], "milestones": milestones}), content["start"])
            given = {name: content[name] for name in ("seconds_score", "images", "images_score")}
            pruned = Pruned(cell, model.to(device), masks, trainer, **given)
        pruned.seconds_train = content["seconds_train"]
        pruned.resumed_from = (*content["resumed_from"], found.step)
        if found.step:
            pruned.state = state
        else:
            state.put(pruned.model)
        return pruned

    def forget(self, cell: Cell) -> None:
        """Remove the checkpoints of a cell, so that it begins anew."""
        if cell.id in self._there:
            self.store.states(cell).clear()

    def _of(self, cell: Cell) -> tuple[Checkpoints, Sketch]:
        if cell.id not in self._known:
            checkpoints = self.store.states(cell, self._mark(cell))
            self._known[cell.id] = checkpoints, sketch_of(self._initial(cell))
        return self._known[cell.id]

    def _initial(self, cell: Cell) -> torch.nn.Module:
        return build_model(cell.model, self.dataset.num_classes, self.dataset.input_shape, cell.init_seed)

    def _mark(self, cell: Cell) -> str:
        """A mark that differs if a result may differ, even in its last bits."""
        made: Json = {"resolved": resolve(cell), "code": code_of(cell), "built_on": self.store.built_on(cell)}
        made |= {"data": self.dataset.fingerprint, **computed_with(self.dataset.train.device, self.execution)}
        return content_id(made)
