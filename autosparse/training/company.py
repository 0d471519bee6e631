"""How many networks to train together: as many as pay and as fit in memory, or one."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from autosparse.data.split import Dataset, Split
from autosparse.seeds import generator
from autosparse.training.ensemble import Member, of_each, why_not_together
from autosparse.training.execution import Execution
from autosparse.training.layout import channels_last
from autosparse.training.loop import steps_per_epoch, train_epoch
from autosparse.training.recipe import Recipe
from autosparse.training.stack import Stack

ON_CPU, SMALL = 8, 100_000
"""On a CPU, as many networks of linear layers with at most so many parameters: larger ones fill its cores alone."""
ON_GPU = 32
TRIAL_STEPS = 10


def company(
    make: Callable[[int], nn.Module], dataset: Dataset, recipe: Recipe, execution: Execution, share: float = 1.0
) -> int:
    """How many networks of one kind to train together by ``recipe``.

    On the CPU a rule, so that the same cells always run in the same way; on a GPU a trial of a few steps.

    :param make: a fresh network of the kind, on the data set's device, for a seed.
    :param share: of the device's free memory that may be used.
    """
    pair = [Member(make(seed), seed=seed) for seed in range(2)]
    if why_not_together(pair, dataset) is not None:
        return 1
    if dataset.train.device.type == "cpu":
        return ON_CPU if _small_and_linear(pair[0].model) else 1
    return _on_gpu(make, dataset, recipe, execution, share)


def _small_and_linear(model: nn.Module) -> bool:
    own = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    return all(type(module) is nn.Linear for module in own) and sum(p.numel() for p in model.parameters()) <= SMALL


def _on_gpu(
    make: Callable[[int], nn.Module], dataset: Dataset, recipe: Recipe, execution: Execution, share: float
) -> int:
    """Time a few steps of one network, and of as many as fit beside each other."""
    device = dataset.train.device
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    alone = _seconds(make, 1, dataset, recipe, execution)
    each = max(1, torch.cuda.max_memory_allocated(device) - before)
    most = min(ON_GPU, int(0.5 * share * torch.cuda.mem_get_info(device)[0] / each))
    if most < 2:
        return 1
    return most if _seconds(make, most, dataset, recipe, execution) < most * alone else 1


def _seconds(
    make: Callable[[int], nn.Module], count: int, dataset: Dataset, recipe: Recipe, execution: Execution
) -> float:
    """For a few steps of ``count`` networks together; of the one alone, if there is one."""
    device = dataset.train.device

    def some(steps: int) -> float:
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        models = [make(seed) for seed in range(count)]
        draws = [generator(seed, "trial") for seed in range(count)]
        span = range(min(steps, steps_per_epoch(dataset, recipe)))
        assert isinstance(dataset.train, Split)
        if count == 1:
            batches = dataset.train.batches(recipe.batch_size, draws[0], recipe.augmentation)
            step = execution.step(models[0], recipe.optimizer_for(models[0]), F.cross_entropy, device)
            with channels_last(models[0], dataset.input_shape):
                train_epoch(models[0], batches, step, span)
        else:
            stack = Stack(models)
            batches = dataset.train.stacked_batches(recipe.batch_size, draws, recipe.augmentation)
            step = execution.step(stack, recipe.optimizer_for(stack), of_each(F.cross_entropy), device)
            train_epoch(stack, batches, step, span)
        torch.cuda.synchronize(device)
        return time.perf_counter() - started

    some(3)
    return some(TRIAL_STEPS)
