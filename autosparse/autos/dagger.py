"""DAgger: rows to learn from, taken from networks that the scorer itself has pruned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosparse.autos.rebuild import dataset_of_survival, recipe_of
from autosparse.autos.rows import Rows, joined
from autosparse.autos.scorer import Scorer
from autosparse.criteria import CRITERIA, score
from autosparse.criteria.by_features import prune_by_features
from autosparse.criteria.rounds import rewinding
from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.irp.survival import Survival
from autosparse.masks import Masks, Scores, keep_count
from autosparse.mode import in_mode
from autosparse.models import build_model
from autosparse.schedule import density_after
from autosparse.seeds import derive_seed, generator
from autosparse.training.execution import Execution
from autosparse.training.loop import train
from autosparse.training.recipe import Recipe

DECILES = 10
"""The rows of a layer form one stratum for each tenth of the target."""


@dataclass(frozen=True)
class Dagger:
    """Passes of DAgger (Ross et al. 2011, arXiv:1011.0686): prune, ask the expert about the pruned networks, fit again.

    The scorer has learned from networks that IRP pruned, but round by round it meets networks that it pruned itself.
    The expert is one more iteration of IRP on such a network.
    """

    passes: int = 1
    """How often rows are added and the scorer is fitted again."""
    networks: int = 1
    """How many networks are drawn in each pass for each IRP run."""
    epochs: int = 1
    """How long the expert trains each network, after each round of pruning."""


@dataclass(frozen=True)
class Met:
    """A network as the scorer has pruned it so far, with what it saw of each layer's weights."""

    masks: Masks
    sampled: dict[str, tuple[Tensor, list[Tensor]]]
    """By layer, on the CPU: which of the weights left are sampled, bool; and each of their features, (n,) float32."""


def rows_met(
    scorer: Scorer,
    survivals: Sequence[Survival],
    datasets: Mapping[str, Dataset],
    how: Dagger,
    number: int,
    most: int | None = None,
    device: torch.device | str = "cpu",
    execution: Execution | None = None,
) -> tuple[Rows, int]:
    """The rows of pass ``number``, and how many images the expert's trainings have seen.

    :param scorer: one that prunes in rounds.
    :param most: about how many rows, evenly from all networks; None: all.
    :raises AutosparseError: if a network or its data cannot be rebuilt, or the expert could judge none of the networks.
    """
    assert scorer.in_rounds is not None
    parts, images, errors = [], 0, list[AutosparseError]()
    networks = len(survivals) * how.networks * scorer.in_rounds.rounds
    most_each = None if most is None else most / networks
    for survival in survivals:
        made, recipe = survival.provenance, recipe_of(survival).lasting(how.epochs)
        dataset = dataset_of_survival(survival, datasets).to(device)
        for i in range(how.networks):
            seed = derive_seed(int(made["seed"]), "dagger", number, i)
            model = build_model(made["model"], dataset.num_classes, dataset.input_shape, seed).to(device)
            for met in _met(scorer, survival, dataset, model, seed, most_each):
                targets = _expert(survival, dataset, recipe, model, met.masks, seed, execution)
                images += how.epochs * len(dataset.train)
                if isinstance(targets, AutosparseError):
                    errors.append(targets)
                elif targets is not None:
                    parts.append(_rows(met, targets))
    if not parts:
        why = f" ({errors[0]})" if errors else ""
        raise AutosparseError(
            f"DAgger: no network that the scorer pruned could be trained and scored{why}; fit without dagger"
        )
    return joined(parts), images


def _met(
    scorer: Scorer, survival: Survival, dataset: Dataset, model: nn.Module, seed: int, most: float | None
) -> list[Met]:
    """Prune ``model`` by the scorer to the IRP run's final density; return it as it was before each round.

    :param most: about how many weights to sample before each round; None: all.
    """
    assert scorer.in_rounds is not None
    seen: list[Met] = []
    draws = generator(seed, "rows")

    def judge(layer: str, i: int, features: dict[str, Tensor]) -> Tensor:
        met = seen[-1]
        share = 1.0 if most is None else most / met.masks.kept
        left = len(features[scorer.inputs[0]])
        picked = torch.rand(left, generator=draws) < share
        met.sampled[layer] = picked, [features[name].float().cpu()[picked] for name in scorer.inputs]
        return scorer.predict(features)

    batches = dataset.scoring_batches(generator(seed, "score"), limit=survival.provenance["score_examples"])
    sparsity = 1 - survival.provenance["final_density"]
    with in_mode(model, survival.gradient_mode):
        prune_by_features(
            model, batches, F.cross_entropy, sparsity, scorer.inputs, judge, scorer.in_rounds, "this scorer",
            on_round=lambda masks: seen.append(Met(masks, {})),
        )  # fmt: skip
    return seen


def _expert(
    survival: Survival,
    dataset: Dataset,
    recipe: Recipe,
    model: nn.Module,
    masks: Masks,
    seed: int,
    execution: Execution | None,
) -> dict[str, Tensor] | AutosparseError | None:
    """The :func:`shares` after one more iteration of the IRP run from ``masks``: train the network, then score it.

    The error if the training diverges or the network cannot be scored; None if no iteration is left.
    """
    made = survival.provenance
    drawn: dict[str, Any] = {"seed": seed} if "seed" in CRITERIA[made["criterion"]].options else {}
    batches = dataset.scoring_batches(generator(seed, "expert"), limit=made["score_examples"])
    try:
        with rewinding(model):
            train(model, dataset, recipe, masks, seed, execution=execution)
            try:
                scores = score(model, made["criterion"], batches, **made["options"], **drawn)
            except AutosparseError as error:
                return error
    except NonFiniteLoss as error:
        return error
    return shares(scores, masks, made["iterations"], made["final_density"], made["schedule"])


def shares(
    scores: Scores, masks: Masks, iterations: int, final_density: float, schedule: str
) -> dict[str, Tensor] | None:
    """The share of the remaining iterations that each weight left survives if all of them rank it by ``scores``.

    The remaining iterations are those that keep fewer weights than ``masks`` do. This is the target of
    :mod:`autosparse.autos.states`, with the scores of one iteration in place of those of each.

    :return: by layer, (n,) float32 within [0, 1], on the CPU; None if no iteration remains.
    """
    total, left = masks.total, masks.kept
    densities = (density_after(j, iterations, final_density, schedule) for j in range(1, iterations + 1))
    kept = [keep_count(total, 1 - density) for density in densities]
    remaining = torch.tensor(sorted(count for count in kept if count < left))
    if not len(remaining):
        return None
    flat = torch.cat([scores[name][mask.to(scores[name].device)].detach().cpu() for name, mask in masks.items()])
    place = torch.empty(left, dtype=torch.int64)
    place[flat.argsort(descending=True, stable=True)] = torch.arange(left)
    # a weight at place p, from 0, is kept by every iteration that keeps more than p
    share = 1 - torch.searchsorted(remaining, place, right=True).float() / len(remaining)
    return dict(zip(masks, share.split([int(mask.sum()) for mask in masks.values()]), strict=True))


def _rows(met: Met, targets: dict[str, Tensor]) -> Rows:
    parts = []
    for name, (picked, columns) in met.sampled.items():
        target = targets[name][picked]
        parts.append(Rows(columns, target, (target * DECILES).long()))
    return joined(parts)
