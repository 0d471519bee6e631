"""GMP: gradual magnitude pruning while the network trains."""

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.drop_and_grow import Share, uniform_counts
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.options import AtLeastOne, OneOf, Sparsity
from autosparse.criteria.trained import Training, checked
from autosparse.mask_change import Change, step_at
from autosparse.masks import Masks, Scores, top_k

Scope = Annotated[str, OneOf(("global", "layer"))]


@criterion("gmp", needs=("training", "changing masks"), paper="Zhu & Gupta 2018, arXiv:1710.01878")
def gmp(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    sparsity: Sparsity,
    training: Training,
    every: AtLeastOne = 100,
    until: Share = 0.75,
    scope: Scope = "global",
) -> Scores:
    """Everything stays at first; in training, the smallest weights go at intervals, ever fewer at a time.

    After step t the sparsity is s (1 - (1 - t / T)^3) with s the one asked for (Zhu & Gupta, eq. 1, from a dense
    network at the first step), rounded to whole weights and exactly s from step T on. A pruned weight does not come
    back. The masks returned keep everything; the final ones come with the training's history. Scores are |theta|.

    :param training: e.g. :class:`autosparse.Trainer`, whose ``finish`` changes the masks on its way.
    :param until: share of the training's steps after which the sparsity is reached (T), even if ``every`` does not
        divide them.
    :param scope: which weights are ranked together: ``global``, the whole network as for ``magnitude`` and ``lth``
        here, or ``layer``, each layer at the same sparsity, as in the paper.
    """
    last = step_at("gmp", checked(training).steps, until, every)

    def rule(step: int, masks: Masks, weights: Mapping[str, Tensor], _: Mapping[str, Tensor]) -> Masks:
        pruned = smallest_pruned if scope == "global" else smallest_pruned_by_layer
        return pruned(masks, weights, cubic_sparsity(step, last, sparsity))

    training.change_masks(Change(rule, every, last, also_last=True))
    return {name: weight.detach().abs() for name, weight in prunable_or_fail(model).items()}


def cubic_sparsity(step: int, last: int, sparsity: float) -> float:
    """The sparsity after ``step`` on the way from 0 to ``sparsity`` at ``last``."""
    return sparsity if step >= last else sparsity * (1 - (1 - step / last) ** 3)


def smallest_pruned(masks: Masks, weights: Mapping[str, Tensor], sparsity: float) -> Masks:
    """``masks`` without the smallest |weight| of the network, at ``sparsity``; exact, ties by position."""
    found = Masks.from_scores({name: weights[name].abs() for name in masks}, sparsity, within=masks)
    return Masks(found, masks.left_out)


def smallest_pruned_by_layer(masks: Masks, weights: Mapping[str, Tensor], sparsity: float) -> Masks:
    """``masks`` without the smallest |weight| of each layer; the whole network is at ``sparsity``, to the weight."""
    alive = {name: int(mask.sum()) for name, mask in masks.items()}
    asked = uniform_counts({name: mask.numel() for name, mask in masks.items()}, sparsity)
    counts = {name: min(count, alive[name]) for name, count in asked.items()}
    short = sum(asked.values()) - sum(counts.values())  # rounded counts may rise by 1 when the budget falls
    found: dict[str, Tensor] = {}
    for name in masks:
        more = min(short, alive[name] - counts[name])
        size = weights[name].abs().double().masked_fill(~masks[name], -torch.inf).flatten()
        found[name] = top_k(size, counts[name] + more).view_as(masks[name])
        short -= more
    return Masks(found, masks.left_out)
