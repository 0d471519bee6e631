"""A cell between its pruning and its record."""

import time
from dataclasses import dataclass, field

from torch import nn

from autosparse.experiment.tasks import Cell
from autosparse.masks import Masks
from autosparse.training import State, Trainer


@dataclass
class Pruned:
    """A cell that is ready for its training, or for the rest of it."""

    cell: Cell
    model: nn.Module
    masks: Masks | None
    trainer: Trainer
    seconds_score: float
    images: int
    """Images trained on, including those of the final training."""
    images_score: int
    """Images shown to the method while it found the masks, including those of its trainings."""
    state: State | None = None
    """Where the training goes on; None: at its beginning."""
    seconds_train: float = 0.0
    """Seconds that earlier processes trained to get there."""
    resumed_from: tuple[int, ...] = ()
    """The epochs at which the cell was resumed; the last is where this process began."""
    kept_at: float = field(default_factory=time.monotonic)
    """When work on it began, or when its state was last kept, by :func:`time.monotonic`."""

    def __post_init__(self) -> None:
        self.recipe, self.start = self.trainer.ahead
        """The recipe of its training, and the step at which it begins; the trainer forgets them when it begins."""
        self.changes_masks = self.trainer.changes_masks

    @property
    def epoch(self) -> int:
        """Epochs of its training that are done."""
        return self.state.epoch if self.state else 0
