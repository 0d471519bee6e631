"""What trainings have in common, and the steps that they consist of."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError
from autosparse.loss import Loss
from autosparse.training.execution import Execution
from autosparse.training.recipe import Recipe


@dataclass(frozen=True)
class Course:
    """All that defines a training except the network, its masks and its seed."""

    dataset: Dataset
    recipe: Recipe
    loss: Loss
    start: int
    """The first step to do, counted from 0 over the whole training."""
    stop: int | None
    """The step before which it ends; None: after the last."""
    execution: Execution

    def epochs(self) -> Iterator[tuple[int, range]]:
        """Each epoch (from 1) that has steps to do, with those steps counted from the epoch's first.

        :raises AutosparseError: if the steps are not within the training.
        """
        length = steps_per_epoch(self.dataset, self.recipe)
        last, stop = self.recipe.epochs * length, self._stop
        if not 0 <= self.start < stop <= last:
            raise AutosparseError(f"steps {self.start} to {stop} are not within a training of {last} steps")
        for epoch in range(self.start // length + 1, math.ceil(stop / length) + 1):
            before = (epoch - 1) * length
            yield epoch, range(max(self.start - before, 0), min(stop - before, length))

    @property
    def _stop(self) -> int:
        return self.recipe.epochs * steps_per_epoch(self.dataset, self.recipe) if self.stop is None else self.stop

    def ends_with(self, epoch: int) -> bool:
        """Whether ``epoch`` is the last one that has steps to do."""
        return 0 < epoch == math.ceil(self._stop / steps_per_epoch(self.dataset, self.recipe))

    def rates(self, epoch: int, steps: range) -> list[float]:
        """The learning rate in each of these steps of an epoch (from 1)."""
        length = steps_per_epoch(self.dataset, self.recipe)
        if not self.recipe.by_step:
            return [self.recipe.lr_in(epoch)] * len(steps)
        return [self.recipe.lr_at((epoch - 1) * length + step, length) for step in steps]

    def after(self, epoch: int) -> "Course":
        """What is left of this training after the end of ``epoch``."""
        return replace(self, start=max(self.start, epoch * steps_per_epoch(self.dataset, self.recipe)))


def steps_per_epoch(dataset: Dataset, recipe: Recipe) -> int:
    """Number of batches in an epoch; the last one may be smaller."""
    return math.ceil(len(dataset.train) / recipe.batch_size)


def images_before(step: int, dataset: Dataset, recipe: Recipe) -> int:
    """Number of images that a training sees before ``step``, each as often as it is seen."""
    epochs, steps = divmod(step, steps_per_epoch(dataset, recipe))
    return epochs * len(dataset.train) + min(steps * recipe.batch_size, len(dataset.train))
