"""How well a surface agrees with the network that it stands for, measured on a sample of the weights it scored."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autosparse.autos.surface import Evaluate
from autosparse.seeds import generator

UNIFORM = 256
NEAR = (0.02, 0.1, 0.4)
"""Strata end at ranks that differ from the threshold's by these shares of the number kept."""
PER_STRATUM = 72
"""Weights of each stratum at which the network is asked."""
WIDE = 4
"""Factor by which wide strata get more: there, a surface that misses a narrow ridge errs rarely, but by a wide
margin."""


@dataclass(frozen=True)
class Certificate:
    """How well a surface agrees with its network."""

    sampled: int
    """Number of weights at which the network was asked."""
    max_error: float
    mean_error: float
    """Largest and mean absolute difference of scores, on a uniform sample."""
    spearman: float
    """Rank correlation, on the same sample."""
    iou: dict[str, float]
    """By number of weights kept (text, for JSON): intersection over union of the masks, estimated on a sample
    stratified by rank. An estimate, not a bound: it is nearly unbiased, with a standard deviation of 0.001 to 0.004
    if errors lie near the threshold, but of about 0.01 if a few weights are misjudged by a wide margin."""

    @property
    def text(self) -> str:
        """One line for people."""
        worst = min(self.iou.values())
        return (
            f"scored from a table; at {self.sampled:,} weights compared with the network, masks agree to an IoU of "
            f"{worst:.4f} or better, scores differ by {self.mean_error:.2g} on average and {self.max_error:.2g} at "
            f"most, rank correlation {self.spearman:.5f}"
        )


def certify(
    evaluate: Evaluate,
    columns: Sequence[Tensor],
    scores: Tensor,
    keep: Sequence[int],
    seed: int = 0,
    per_stratum: int = PER_STRATUM,
) -> Certificate:
    """Compare the surface's ``scores`` (n,) with the network's on a sample of the weights.

    Most of the sample lies near the thresholds, where masks can differ; each weight counts by the size of its stratum.
    """
    draws, total = generator(seed, "certificate"), len(scores)
    order = scores.argsort(descending=True)
    ends = [round(kept * (1 + way * share)) for kept in keep for share in NEAR for way in (-1, 1)]
    edges = sorted({0, total, *keep, *(min(total, end) for end in ends)})
    ranks, weight = [], []
    for low, high in itertools.pairwise(edges):
        size = min(high - low, per_stratum * (WIDE if high - low > high / 2 else 1))
        ranks.append(low + torch.randint(high - low, (size,), generator=draws))
        weight.append(torch.full((size,), (high - low) / size, dtype=torch.float64))
    uniform = torch.randint(total, (min(total, UNIFORM),), generator=draws)
    picked = torch.cat([order[torch.cat(ranks).to(order.device)], uniform.to(order.device)])
    exact = evaluate([column[picked] for column in columns]).double().cpu()
    approximate, stratified = scores[picked].double().cpu(), len(picked) - len(uniform)
    difference = (exact - approximate)[stratified:].abs()
    return Certificate(
        sampled=len(picked),
        max_error=float(difference.max()),
        mean_error=float(difference.mean()),
        spearman=_spearman(exact[stratified:], approximate[stratified:]),
        iou={str(k): _iou(exact[:stratified], torch.cat(ranks), torch.cat(weight), k) for k in keep},
    )


def _iou(exact: Tensor, ranks: Tensor, weight: Tensor, kept: int) -> float:
    """The IoU of the surface's first ``kept`` ranks and the network's, estimated from the weighted sample."""
    by_surface = ranks < kept
    order = exact.argsort(descending=True)
    by_network = torch.zeros_like(by_surface)
    by_network[order] = weight[order].cumsum(0) - weight[order] / 2 < weight[by_surface].sum()
    return float(weight[by_surface & by_network].sum() / weight[by_surface | by_network].sum())


def _spearman(a: Tensor, b: Tensor) -> float:
    ranks = torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double()
    return float(torch.corrcoef(ranks)[0, 1])
