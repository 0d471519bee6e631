"""Iterative rewind pruning (IRP): train, prune, rewind to the initialisation, again."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from autosparse.criteria import CRITERIA, Loss, score
from autosparse.criteria.gradients import mean_gradient
from autosparse.data.split import Dataset
from autosparse.irp.schedule import density_after
from autosparse.irp.survival import Survival
from autosparse.masks import Masks, prunable
from autosparse.seeds import derive_seed, generator
from autosparse.training.loop import accuracy, train
from autosparse.training.recipe import Recipe
from autosparse.version import __version__

SCORE_EXAMPLES = 5120
"""Examples that g_0 and criteria see unless told otherwise: enough for a stable gradient, cheap on a CPU."""


def rewind_prune(
    model: nn.Module,
    dataset: Dataset,
    criterion: str = "snip",
    iterations: int = 20,
    final_density: float = 0.01,
    schedule: str = "geometric",
    recipe: Recipe | None = None,
    seed: int = 0,
    score_examples: int | None = SCORE_EXAMPLES,
    loss: Loss = F.cross_entropy,
    on_iteration: Callable[[int, Masks, float], None] | None = None,
    **options: Any,
) -> Survival:
    """Run IRP from the state ``model`` is in (AutoSparse Algorithm 2) and count the iterations each weight survives.

    In iteration i the masked network is trained by ``recipe`` with a fresh optimiser, its surviving weights are
    scored with ``criterion`` in that trained state, and exactly ``n - round(n * (1 - density_i))`` of them stay;
    then every parameter and buffer is set back to its initial value, bit for bit. A weight that fell never returns.
    The model is back in its initial state at the end.

    :param final_density: share of weights kept after the last iteration.
    :param schedule: ``geometric`` or ``linear``, see :func:`autosparse.irp.schedule.density_after`.
    :param score_examples: examples that g_0 and the criterion see (a random draw); None: the whole train split.
    :param on_iteration: called with (i, masks, test accuracy in percent) after each iteration.
    :param options: of the criterion.
    :raises NonFiniteLoss: where a training diverges.
    """
    recipe = recipe or Recipe()
    if "seed" in CRITERIA[criterion].options:
        options.setdefault("seed", seed)
    initial = {name: value.clone() for name, value in model.state_dict().items()}

    def batches(purpose: object) -> Any:
        return dataset.train.batches(512, generator(seed, "score", purpose), limit=score_examples)

    param = {name: weight.detach().float().cpu().clone() for name, weight in prunable(model).items()}
    grad = {name: g.float().cpu() for name, g in mean_gradient(model, batches(0), loss).items()}
    survived = {name: torch.zeros(p.shape, dtype=torch.int32) for name, p in param.items()}
    masks, accuracies = Masks.dense(model), []
    for i in range(1, iterations + 1):
        train(model, dataset, recipe, masks, derive_seed(seed, "irp", i), loss)
        accuracies.append(accuracy(model, dataset.test))
        fresh = {**options, "seed": derive_seed(options["seed"], "irp", i)} if "seed" in options else options
        scores = score(model, criterion, batches(i), loss, **fresh)
        masks = Masks.from_scores(scores, 1 - density_after(i, iterations, final_density, schedule), within=masks)
        for name, mask in masks.items():
            survived[name] += mask.cpu()
        model.load_state_dict(initial)
        if on_iteration:
            on_iteration(i, masks, accuracies[-1])
    provenance = {
        "criterion": criterion,
        "iterations": iterations,
        "final_density": final_density,
        "schedule": schedule,
        "seed": seed,
        "score_examples": score_examples or len(dataset.train),
        "recipe": {**asdict(recipe), "milestones": list(recipe.milestones)},
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "model": type(model).__name__,
        "accuracy": accuracies,
        "code_version": __version__,
    }
    return Survival(param, grad, survived, provenance)
