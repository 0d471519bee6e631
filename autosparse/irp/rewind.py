"""Iterative rewind pruning (IRP): train, prune, rewind to the initialisation, and repeat."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosparse.criteria import Criterion, Loss, check_options, score
from autosparse.criteria.gradients import mean_gradient
from autosparse.criteria.rounds import rewinding, rounds_of
from autosparse.data.split import Batch, Dataset
from autosparse.devices import full_float32
from autosparse.errors import AutosparseError, UnknownName
from autosparse.irp.survival import Survival
from autosparse.masks import Masks, Scores, prunable
from autosparse.mode import EVAL, MODES, in_mode
from autosparse.ranking import require_finite
from autosparse.schedule import density_after
from autosparse.seeds import derive_seed, drawing_from, generator
from autosparse.training.execution import Execution
from autosparse.training.loop import train
from autosparse.training.recipe import Recipe
from autosparse.training.state import State, Take
from autosparse.version import __version__

SCORE_EXAMPLES = 5120
"""Examples that g_0 and criteria see by default: enough for a stable gradient, cheap on a CPU."""


@dataclass(frozen=True)
class Reached:
    """A run after some of its iterations: all that it needs to go on."""

    survived: dict[str, Tensor]
    """int32 counts per prunable weight tensor; masks are nested, so the counts determine them all."""
    accuracy: list[float]
    """Test accuracy in percent of each iteration."""
    training: State | None = None
    """The training of the next iteration, after some of its epochs; None: it has not begun."""

    @property
    def iteration(self) -> int:
        """Number of iterations done."""
        return len(self.accuracy)


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
    on_reached: Callable[[Reached], None] | None = None,
    on_state: Callable[[int, Callable[[], Reached]], None] | None = None,
    resume: Reached | None = None,
    execution: Execution | None = None,
    gradient_mode: str = EVAL,
    **options: Any,
) -> Survival:
    """Run IRP from the state ``model`` is in (AutoSparse Algorithm 2) and count the iterations each weight survives.

    In iteration i the masked network is trained by ``recipe`` with a fresh optimiser, its surviving weights are
    scored with ``criterion`` in that trained state, and exactly ``n - round(n * (1 - density_i))`` of them stay;
    then every parameter and buffer is set back to its initial value, bit for bit. A pruned weight never returns.
    The model is back in its initial state at the end, even after an error.

    :param iterations: N, at least 1.
    :param final_density: share of weights kept after the last iteration.
    :param schedule: ``geometric`` or ``linear``, see :func:`autosparse.schedule.density_after`.
    :param seed: of the data order, of the examples drawn for scoring, and of a random criterion.
    :param score_examples: examples that g_0 and the criterion see (a random draw); None: the whole train split.
    :param on_iteration: called with (i, masks, test accuracy in percent) after each iteration.
    :param on_reached: called after each iteration with what ``resume`` takes.
    :param on_state: called after each epoch of an iteration but its last, with the epoch's number and a function that
        returns what ``resume`` takes; to be called before the training goes on.
    :param resume: what an earlier run with the same arguments had reached; the outcome is the same to the bit.
    :param execution: precision and the like of the trainings; gradients and scores are always float32, with no TF32.
    :param gradient_mode: the mode in which g_0 is taken: ``eval``, as in the paper's Algorithms 1 and 2, or ``train``.
        A scorer fitted on the outcome takes its gradients in the same mode. The criterion has its own option ``mode``.
    :param options: of the criterion.
    :raises AutosparseError: before any training, if an argument or option does not make sense.
    :raises NonFiniteLoss: if a training diverges.
    """
    recipe = recipe or Recipe()
    if iterations < 1:
        raise AutosparseError(f"iterative pruning needs at least 1 iteration, got {iterations}")
    sparsities = [1 - density_after(i, iterations, final_density, schedule) for i in range(1, iterations + 1)]
    if gradient_mode not in MODES:
        raise UnknownName("gradient_mode", gradient_mode, MODES)
    chosen = check_options(criterion, options)
    how = _keeping_statistics(execution or Execution(), model, chosen)

    def batches(purpose: object) -> Iterator[Batch]:
        return dataset.scoring_batches(generator(seed, "score", purpose), limit=score_examples)

    accuracies = list(resume.accuracy) if resume else []
    first = len(accuracies)

    def reached(training: State | None = None) -> Reached:
        return Reached({name: count.clone() for name, count in survived.items()}, list(accuracies), training)

    def train_and_score(done: int, masks: Masks) -> Scores:
        def tell(epoch: int, take: Take) -> None:
            if on_state and epoch < recipe.epochs:
                on_state(epoch, lambda: reached(take()))

        i = first + done + 1
        iteration_seed = derive_seed(seed, "irp", i)
        seeded = {"seed": iteration_seed} if "seed" in chosen.options else {}
        with rewinding(model):
            under_way = resume.training if resume and not done else None
            history = train(
                model, dataset, recipe, masks, iteration_seed, loss, execution=how, resume=under_way, on_state=tell
            )
            accuracies.append(history.last)
            return score(model, criterion, batches(i), loss, **options, **seeded)

    with rewinding(model):
        param = {name: weight.detach().float().cpu().clone() for name, weight in prunable(model).items()}
        drawing = drawing_from(derive_seed(seed, "g_0"), dataset.train.device)
        with full_float32(), drawing, in_mode(model, gradient_mode):
            gradient = mean_gradient(model, batches(0), loss)
        require_finite(gradient, f"initial gradients g_0 in mode {gradient_mode!r}")
        grad = {name: g.float().cpu() for name, g in gradient.items()}
        survived = _counts(param, resume)
        masks = Masks({name: (count >= first).to(gradient[name].device) for name, count in survived.items()})
        rounds = rounds_of(model, sparsities[first:], train_and_score, masks=masks)
        for i, (masks, _) in enumerate(rounds, first + 1):
            for name, mask in masks.items():
                survived[name] += mask.cpu()
            if on_iteration:
                on_iteration(i, masks, accuracies[-1])
            if on_reached:
                on_reached(reached())
    provenance = {
        "criterion": criterion,
        "options": options,
        "criterion_mode": options.get("mode", chosen.mode),
        "gradient_mode": gradient_mode,
        "iterations": iterations,
        "final_density": final_density,
        "schedule": schedule,
        "seed": seed,
        "score_examples": min(score_examples or len(dataset.train), len(dataset.train)),
        "recipe": {**asdict(recipe), "milestones": list(recipe.milestones)},
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "model": type(model).__name__,
        "accuracy": accuracies,
        "code_version": __version__,
    }
    return Survival(param, grad, survived, provenance)


def _keeping_statistics(execution: Execution, model: nn.Module, criterion: Criterion) -> Execution:
    """``execution``, without compact networks if the criterion would see what they leave out.

    Compact training does not update the running statistics of BatchNorm channels that nothing reads. The gradients of
    weights around them are 0 anyway, but their second derivatives are not.
    """
    curved = "hessian-vector products" in criterion.needs
    if curved and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        return replace(execution, compact="off")
    return execution


def _counts(param: dict[str, Tensor], resume: Reached | None) -> dict[str, Tensor]:
    """The iterations that each weight has survived so far.

    :raises AutosparseError: if ``resume`` is of another network.
    """
    if resume is None:
        return {name: torch.zeros(p.shape, dtype=torch.int32) for name, p in param.items()}
    if {name: c.shape for name, c in resume.survived.items()} != {name: p.shape for name, p in param.items()}:
        raise AutosparseError("the run to resume is of another network; start anew")
    return {name: resume.survived[name].to(torch.int32).clone() for name in param}
