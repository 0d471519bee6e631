"""Random pruning with Erdos-Renyi-kernel layer densities."""

import math
from collections.abc import Hashable, Mapping
from fractions import Fraction
from typing import TypeVar

import torch
from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.options import Sparsity
from autosparse.masks import Scores, keep_count, top_k
from autosparse.seeds import generator
from autosparse.weights import stacked

K = TypeVar("K", bound=Hashable)


@criterion("random-erk", paper="Evci et al. 2020, arXiv:1911.11134; Liu et al. 2022, arXiv:2202.02643")
def random_erk(model: nn.Module, batches: Batches | None, loss: Loss, sparsity: Sparsity, seed: int = 0) -> Scores:
    """Random weights stay, more densely in small and narrow layers (ERK), so that none is starved.

    The projections that attention keeps in one tensor are layers of their own. Scores are uniform in [0, 1), float32 of
    the weight's shape, -inf where pruned. Needs neither data nor gradients.
    """
    weights, parts = prunable_or_fail(model), stacked(model)
    shapes = {
        (name, i): tuple(part.shape) for name, w in weights.items() for i, part in enumerate(w.chunk(parts[name]))
    }
    counts = erk_counts(shapes, sparsity)
    scores: Scores = {}
    for name, weight in weights.items():
        drawn = torch.rand(weight.numel(), generator=generator(seed, "random-erk", name))
        for i, part in enumerate(drawn.chunk(parts[name])):
            part.masked_fill_(~top_k(part, counts[name, i]), -torch.inf)
        scores[name] = drawn.view_as(weight).to(weight.device)
    return scores


def erk_counts(shapes: Mapping[K, tuple[int, ...]], sparsity: float) -> dict[K, int]:
    """Weights to keep per layer: densities proportional to (sum of the shape) / (product of the shape), at most 1.

    The shape of a weight is (out, in, *kernel), or (in, out, *kernel) of a ConvTranspose; for Linear layers this is
    (out + in) / (out * in) (Evci et al., section 3). Layers that would exceed density 1 are kept whole, and the others
    are scaled up in turn. Counts are rounded by largest remainder, so that they sum to exactly ``n - round(n *
    sparsity)``.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    budget = keep_count(sum(sizes.values()), sparsity)
    whole: set[K] = set()
    scale = 0.0
    while len(whole) < len(sizes):
        free = [name for name in shapes if name not in whole]
        left = budget - sum(sizes[name] for name in whole)
        scale = left / sum(sum(shapes[name]) for name in free)
        too_dense = {name for name in free if scale * sum(shapes[name]) > sizes[name]}
        if not too_dense:
            break
        whole |= too_dense
    exact = {name: float(sizes[name]) if name in whole else scale * sum(shapes[name]) for name in shapes}
    counts = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    return filled_up(counts, exact, budget)


def filled_up(counts: Mapping[K, int], exact: Mapping[K, float | Fraction], budget: int) -> dict[K, int]:
    """``counts``, the rounded-down ``exact`` values, with the largest remainders rounded up to sum to ``budget``."""
    short = budget - sum(counts.values())
    raised = set(sorted(exact, key=lambda name: counts[name] - exact[name])[:short])
    return {name: count + (name in raised) for name, count in counts.items()}
