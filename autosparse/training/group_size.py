"""How many networks to train together: as many as fit in memory if that is faster, else one."""

import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from autosparse.data.split import Batch, Dataset, Split
from autosparse.devices import backend
from autosparse.seeds import generator
from autosparse.training.course import steps_per_epoch
from autosparse.training.execution import Execution
from autosparse.training.layout import channels_last
from autosparse.training.loop import train_epoch
from autosparse.training.recipe import Recipe
from autosparse.training.stack import Stack
from autosparse.training.stackable import Member, why_not_together
from autosparse.training.stacked import of_each

ON_CPU = 8
"""The most networks that train together on a CPU."""
SMALL = 100_000
"""A network with more parameters keeps a CPU's cores busy alone."""
ON_GPU = 32
"""The most networks that train together on a GPU."""
MEMORY = 0.5
"""Share of this process's GPU memory that the networks together may take."""
TRIAL_STEPS = 10
"""Steps that a trial times."""


def group_size(
    make: Callable[[int], nn.Module],
    dataset: Dataset,
    recipe: Recipe,
    execution: Execution,
    share: float = 1.0,
    most: int = ON_GPU,
) -> int:
    """How many networks of one kind to train together by ``recipe``.

    On the CPU a rule decides, so that the same cells always run in the same way; on a GPU a trial of a few steps does.

    :param make: returns a fresh network of the kind, on the data set's device, for a seed.
    :param share: share of the device that this process is to use, above 0 and at most 1.
    :param most: the largest answer, such as how many networks there are to train.
    :return: 1 if they cannot train together, or gain nothing by it.
    """
    if most < 2:
        return 1
    pair = [Member(make(seed), seed=seed) for seed in range(2)]
    if why_not_together(pair, dataset) is not None:
        return 1
    if dataset.train.device.type == "cpu":
        return min(most, ON_CPU) if _small_and_linear(pair[0].model) else 1
    return _on_gpu(make, dataset, recipe, execution, share, min(most, ON_GPU))


def _small_and_linear(model: nn.Module) -> bool:
    layers = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    return all(type(module) is nn.Linear for module in layers) and sum(p.numel() for p in model.parameters()) <= SMALL


def _on_gpu(
    make: Callable[[int], nn.Module], dataset: Dataset, recipe: Recipe, execution: Execution, share: float, most: int
) -> int:
    """How many fit beside each other, if a few of their steps take less time than those of each alone; else 1."""
    device = dataset.train.device
    accelerator: Any = backend(device)
    if not hasattr(accelerator, "mem_get_info"):
        return 1
    accelerator.reset_peak_memory_stats(device)
    before = accelerator.memory_allocated(device)
    alone = _seconds(make, 1, dataset, recipe, execution)
    each = max(1, accelerator.max_memory_allocated(device) - before)
    free, total = accelerator.mem_get_info(device)
    count = min(most, int(MEMORY * min(free, share * total) / each))
    while count > 1:
        try:
            return count if _seconds(make, count, dataset, recipe, execution) < count * alone else 1
        except torch.OutOfMemoryError as error:
            traceback.clear_frames(error.__traceback__)  # which hold what did not fit
        accelerator.empty_cache()
        count //= 2
    return 1


def _seconds(
    make: Callable[[int], nn.Module], count: int, dataset: Dataset, recipe: Recipe, execution: Execution
) -> float:
    """How many seconds a few steps of ``count`` networks together take; a single one trains as it would alone."""
    device = dataset.train.device
    accelerator: Any = backend(device)

    def some(steps: int) -> float:
        accelerator.synchronize(device)
        started = time.perf_counter()
        models = [make(seed) for seed in range(count)]
        draws = [generator(seed, "trial") for seed in range(count)]
        span = range(min(steps, steps_per_epoch(dataset, recipe)))
        assert isinstance(dataset.train, Split)
        if count == 1:
            batches: Iterator[Batch] = dataset.train.batches(recipe.batch_size, draws[0], recipe.augmentation)
            step = execution.step(models[0], recipe.optimizer_for(models[0]), F.cross_entropy, device)
            with channels_last(models[0], dataset.input_shape):
                train_epoch(models[0], batches, step, span)
        else:
            stack = Stack(models)
            batches = dataset.train.stacked_batches(recipe.batch_size, draws, recipe.augmentation)
            step = execution.step(stack, recipe.optimizer_for(stack), of_each(F.cross_entropy), device)
            train_epoch(stack, batches, step, span)
        accelerator.synchronize(device)
        return time.perf_counter() - started

    some(3)
    return some(TRIAL_STEPS)
