"""Estimate roughly what a task will cost in FLOPs, so that jobs can be cut to end together."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from autosparse.analysis import flops
from autosparse.criteria import CRITERIA
from autosparse.criteria.options import ROUNDS
from autosparse.data.split import Dataset
from autosparse.experiment.fields import BRANCH, DENSE, Options
from autosparse.experiment.tasks import Cell, IrpTask, Task
from autosparse.models import build_model

BACKWARD = 3
"""A step of training costs as much as three forward passes."""
FIXED = 1e9
"""FLOPs that every task costs on top, for building the network and writing the record."""
BATCH = 512


@dataclass(frozen=True)
class Extent:
    """What the cost of training on a data set depends on."""

    train: int
    test: int
    """Numbers of images."""
    input_shape: tuple[int, ...]
    num_classes: int


EXTENTS = {
    "mnist": Extent(60_000, 10_000, (1, 28, 28), 10),
    "fashion-mnist": Extent(60_000, 10_000, (1, 28, 28), 10),
    "cifar10": Extent(50_000, 10_000, (3, 32, 32), 10),
    "cifar100": Extent(50_000, 10_000, (3, 32, 32), 100),
    "tiny-imagenet": Extent(100_000, 10_000, (3, 64, 64), 200),
    "imagenet": Extent(1_281_167, 50_000, (3, 224, 224), 1000),
}
"""Sizes of data sets, to estimate what an experiment would cost without loading them."""


def extent_of(dataset: Dataset) -> Extent:
    """The size of a data set that is loaded."""
    return Extent(len(dataset.train), len(dataset.test), dataset.input_shape, dataset.num_classes)


class Weights:
    """Costs of tasks, in any unit; here all tasks cost the same."""

    def __call__(self, task: Task) -> float:
        """The cost of a whole task."""
        return 1.0

    def behind(self, task: Task, share: float) -> float:
        """The cost of the finished part of a task.

        :param share: the finished share of its IRP, its fit, or a cell's last training.
        """
        return share


ALIKE = Weights()


class Costs(Weights):
    """Estimates for tasks on these data sets."""

    def __init__(self, datasets: Mapping[str, Extent]):
        self.datasets = datasets
        self._forward = functools.cache(self._measure)

    def __call__(self, task: Task) -> float:
        """FLOPs of an IRP run or a cell; a small constant for other tasks."""
        if isinstance(task, IrpTask):
            return FIXED + task.iterations * (self._training(task) + self._scoring(task))
        if not isinstance(task, Cell):
            return FIXED
        if task.criterion in (DENSE, BRANCH):
            return FIXED + self._training(task)
        trains = "training" in CRITERIA[task.criterion].needs
        rounds = _rounds(task.criterion, task.options) if trains else 0
        return FIXED + (1 + rounds) * self._training(task) + self._scoring(task)

    def behind(self, task: Task, share: float) -> float:
        """FLOPs done of a task; scoring and the trainings that the method needs come before a cell's last training."""
        last = self._training(task) if isinstance(task, Cell) else self(task)
        return self(task) - (1 - share) * last

    def _training(self, task: IrpTask | Cell) -> float:
        dataset = self.datasets[task.dataset]
        examples = BACKWARD * dataset.train + dataset.test
        return self._forward(task.model, task.dataset) * examples * task.recipe.epochs

    def _scoring(self, task: IrpTask | Cell) -> float:
        rounds = _rounds(task.criterion, task.options)
        examples = rounds * BATCH if rounds else min(task.score_examples or math.inf, self.datasets[task.dataset].train)
        return BACKWARD * examples * self._forward(task.model, task.dataset)

    def _measure(self, model: str, dataset: str) -> float:
        """FLOPs of one example's forward pass; 0 for a network that the counter cannot follow."""
        shape = self.datasets[dataset].input_shape
        try:
            return sum(flops(build_model(model, self.datasets[dataset].num_classes, shape, 0), shape).values())
        except Exception:  # the user's own network: its cells are packed by number alone
            return 0.0


def _rounds(criterion: str, options: Options) -> int:
    """Number of rounds that the criterion has with these options; 0 if it has none."""
    parameters = CRITERIA[criterion].parameters
    found = [options.get(name, parameters[name].default) for name in ROUNDS if name in parameters]
    return int(found[0]) if found and isinstance(found[0], int) else 0
