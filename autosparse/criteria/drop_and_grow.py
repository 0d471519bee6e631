"""Dropping the smallest weights of each layer and growing as many others: what SET and RigL share."""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Annotated

import torch
from torch import Tensor, nn

from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.options import OneOf, Within
from autosparse.criteria.random_erk import filled_up, random_erk
from autosparse.mask_change import Change
from autosparse.masks import Masks, Scores, keep_count, top_k
from autosparse.seeds import generator

Start = Annotated[str, OneOf(("erk", "uniform"))]
DropFraction = Annotated[float, Within(0, 1, open_low=True)]
Share = Annotated[float, Within(0, 1, open_low=True)]
"""Share of the steps of a training."""

Growth = Callable[[int, str, Tensor], Tensor]
"""``(steps done, name of a weight, its gradient) -> how much each of its entries deserves to grow``."""


def drop_fraction(step: int, last: int, alpha: float) -> float:
    """Share of a layer's weights that is dropped after ``step``: alpha / 2 (1 + cos(pi step / last)), 0 from ``last``.

    Evci et al. 2020 (arXiv:1911.11134), section 3.
    """
    return alpha / 2 * (1 + math.cos(math.pi * min(step, last) / last))


def dropped_and_grown(mask: Tensor, weight: Tensor, growth: Tensor, count: int) -> Tensor:
    """``mask`` without its ``count`` weights of smallest |weight|, and with as many others.

    The others have the largest ``growth`` among all weights not kept by then, the dropped ones included (Evci et al.,
    Algorithm 1). Ties go to the first, which stay or grow. All tensors are of one shape.
    """
    kept = int(mask.sum())
    size = weight.abs().double().masked_fill(~mask, -1.0).flatten()
    survives = top_k(size, kept - count)
    grows = top_k(growth.double().flatten().masked_fill(survives, -torch.inf), count)
    return (survives | grows).view_as(mask)


def change_of(alpha: float, every: int, last: int, growth: Growth) -> Change:
    """The change that drops the share :func:`drop_fraction` of each layer, rounded down, and grows as many weights.

    The three matrices in the ``in_proj_weight`` of ``nn.MultiheadAttention`` are one layer here: weights may move from
    one to another.

    :param every: number of steps between changes, all of which come before step ``last``.
    """

    def rule(step: int, masks: Masks, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> Masks:
        share, changed = drop_fraction(step, last, alpha), {}
        for name, mask in masks.items():
            count = int(share * int(mask.sum()))
            changed[name] = dropped_and_grown(mask, weights[name], growth(step, name, gradients[name]), count)
        return Masks(changed, masks.left_out)

    return Change(rule, every, last - 1)


def start_scores(model: nn.Module, sparsity: float, start: str, seed: int) -> Scores:
    """Scores of random masks to start from, -inf where pruned: those of ``random-erk``, or uniform over the layers.

    Uniform counts are rounded by largest remainder, so that they sum to exactly ``n - round(n * sparsity)``.
    """
    if start == "erk":
        return random_erk(model, None, torch.nn.functional.cross_entropy, sparsity, seed)
    weights = prunable_or_fail(model)
    counts = uniform_counts({name: weight.numel() for name, weight in weights.items()}, sparsity)
    scores: Scores = {}
    for name, weight in weights.items():
        drawn = torch.rand(weight.numel(), generator=generator(seed, "uniform start", name))
        scores[name] = drawn.masked_fill(~top_k(drawn, counts[name]), -torch.inf).view_as(weight).to(weight.device)
    return scores


def uniform_counts(sizes: dict[str, int], sparsity: float) -> dict[str, int]:
    """Weights to keep per layer at one density for all; they sum to exactly ``n - round(n * sparsity)``."""
    total = sum(sizes.values())
    budget = keep_count(total, sparsity)
    exact = {name: Fraction(size * budget, total) for name, size in sizes.items()}
    counts = {name: math.floor(value) for name, value in exact.items()}
    return filled_up(counts, exact, budget)
