"""A training that a criterion may use on its way, and by which the pruned network is trained afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import nn

from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError
from autosparse.loss import Loss
from autosparse.mask_change import Change
from autosparse.masks import Masks
from autosparse.seeds import derive_seed
from autosparse.training.course import images_before, steps_per_epoch
from autosparse.training.execution import Execution
from autosparse.training.history import History
from autosparse.training.loop import train
from autosparse.training.recipe import Recipe
from autosparse.training.state import State, Take


@dataclass
class Trainer:
    """Recipe, data and seed of a network's training.

    >>> data = asp.load_dataset("digits")
    >>> model = asp.build_model("lenet-300-100", 10, data.input_shape)
    >>> trainer = asp.Trainer(data, asp.Recipe(epochs=1), seed=0)
    >>> masks = asp.prune(model, "ltr", 0.95, training=trainer, rounds=2)
    >>> history = trainer.finish(model, masks)

    :meth:`finish` does what :func:`autosparse.train` does, but goes on from where a criterion has left the training.
    """

    dataset: Dataset
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    loss: Loss = F.cross_entropy
    execution: Execution = field(default_factory=Execution)

    images: int = field(default=0, init=False)
    """Number of images that it has trained on so far, each as often as it was seen, without those of :meth:`finish`."""
    ahead: tuple[Recipe, int] = field(init=False, repr=False, compare=False)
    """The recipe that :meth:`finish` will train by, and the step that it will begin at; see :meth:`train_by`."""

    def __post_init__(self) -> None:
        self.ahead = self.recipe, 0
        self._change: Change | None = None
        self._meant_for: Masks | None = None
        """The masks that the training ahead was set up for; None: it may be any."""
        self._used: Masks | None = None
        """The first masks of the last network, if what was asked for it cannot be done again."""

    @property
    def steps(self) -> int:
        """Number of optimiser steps of a whole training."""
        return self.epochs * steps_per_epoch(self.dataset, self.recipe)

    @property
    def epochs(self) -> int:
        """Number of epochs of a whole training."""
        return self.recipe.epochs

    def __call__(
        self, model: nn.Module, masks: Masks | None, run: int | None = None, start: int = 0, stop: int | None = None
    ) -> None:
        """Train in place, on the way to the masks; see :class:`autosparse.criteria.trained.Training`.

        :param run: which of several trainings this is, each with data orders of its own; None: the network's own.
        :param start: the first step to do, see :func:`autosparse.train`.
        :param stop: the step before which to end.
        """
        seed = self.seed if run is None else derive_seed(self.seed, "run", run)
        self.images += self._images(self.recipe, start, self.steps if stop is None else stop)
        train(
            model, self.dataset, self.recipe, masks, seed, self.loss, start=start, stop=stop, execution=self.execution
        )

    @property
    def changes_masks(self) -> bool:
        """Whether :meth:`finish` will change the masks on its way, so that it trains one network by itself."""
        return self._change is not None

    @property
    def images_ahead(self) -> int:
        """Number of images that :meth:`finish` will train on."""
        recipe, start = self.ahead
        return self._images(recipe, start, recipe.epochs * steps_per_epoch(self.dataset, recipe))

    def _images(self, recipe: Recipe, start: int, stop: int) -> int:
        return images_before(stop, self.dataset, recipe) - images_before(start, self.dataset, recipe)

    def go_on(self, start: int) -> None:
        """Let :meth:`finish` train from this step on."""
        self.train_by(self.recipe, start)

    def train_by(self, recipe: Recipe, start: int) -> None:
        """Let :meth:`finish` train by this recipe, from this step on."""
        self.ahead, self._change, self._meant_for = (recipe, start), None, None

    def meant_for(self, masks: Masks) -> None:
        """Let :meth:`finish` refuse other masks than these if what is ahead is not simply the whole training.

        :func:`autosparse.prune` calls this, because what a criterion asks for holds for its own masks. If you change
        them before the training, call it with the new ones.
        """
        self._meant_for = masks

    def fine_tune(self, epochs: int) -> None:
        """Let :meth:`finish` train for ``epochs`` at the recipe's last learning rate."""
        self.train_by(self.recipe.fine_tuning(epochs), start=0)

    def change_masks(self, change: Change) -> None:
        """Let :meth:`finish` train from the first step on, and change the masks on its way."""
        self.go_on(start=0)
        self._change = change

    def finish(
        self,
        model: nn.Module,
        masks: Masks | None,
        on_epoch: Callable[[int, History], None] | None = None,
        resume: State | None = None,
        on_state: Callable[[int, Take], None] | None = None,
    ) -> History:
        """Train the pruned network, from where the criterion left it, or from ``resume``, to the end.

        If its masks change on the way, the history holds the last ones: ``history.masks.last``. The next network begins
        at the beginning, unless this call was interrupted (Ctrl-C): then the next call does what this one should have
        done, and may go on from a state that it left.

        :raises AutosparseError: if a criterion asked for another training than the whole one, and these are not the
            masks that it returned; or if they are, but the training that it asked for has been done (and changed the
            masks) or has failed: prune again.
        """
        self._refuse(masks)
        (recipe, start), change = self.ahead, self._change
        try:
            history = train(
                model, self.dataset, recipe, masks, self.seed, self.loss, on_epoch,
                start=start, execution=self.execution, change=change, resume=resume, on_state=on_state,
            )  # fmt: skip
        except Exception:
            self._used = None if self._is_whole else masks
            self.go_on(start=0)
            raise
        self._used = masks if self.changes_masks else None
        self.go_on(start=0)
        return history

    @property
    def _is_whole(self) -> bool:
        """Whether the training ahead is the whole one, at fixed masks."""
        return self.ahead == (self.recipe, 0) and not self.changes_masks

    def _refuse(self, masks: Masks | None) -> None:
        """Raise if the training ahead is not for these masks."""
        if self._is_whole and masks is not None and masks == self._used:
            raise AutosparseError(
                "a criterion found these masks for a training of its own (from a later step, or with masks that "
                "change), which has been done or has failed: prune again with this Trainer, or train a network at "
                "fixed masks with a new one"
            )
        if not self._is_whole and self._meant_for is not None and masks != self._meant_for:
            raise AutosparseError(
                "these are not the masks for which a criterion has set up this Trainer (to train from a later step, or "
                "with masks that change): finish those, take a new Trainer for these, or, if you have changed the "
                "masks yourself, call its meant_for(masks)"
            )
