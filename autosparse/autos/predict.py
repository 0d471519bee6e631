"""Scoring every weight of a network: by the scorer's network itself, or by a surface that stands for it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from autosparse.autos.backbones import Backbone
from autosparse.autos.certificate import Certificate, certify
from autosparse.autos.surface import Surface
from autosparse.autos.table import Table
from autosparse.criteria.autos import SPARSITIES, PredictsSurvival
from autosparse.masks import keep_count


class Asked(PredictsSurvival, Protocol):
    """What this module needs of a scorer, besides what the criterion needs."""

    network: Backbone
    """Its regressor."""
    backbone: str
    """The regressor's name."""

    def predictor(self, device: torch.device) -> Callable[[Sequence[Tensor]], Tensor]:
        """:meth:`predict` for columns in the order of ``inputs``, on ``device``."""


PROMISE = 0.99
"""Intersection over union of the surface's masks and the network's."""
BUDGETS = (6144, 16384, 65536)
"""Evaluation budgets for a surface, tried in turn until it keeps the promise."""


@dataclass(frozen=True)
class Verdict:
    """Scores of all weights and, if a surface gave them, how well it agrees with the network."""

    scores: Tensor
    evaluations: int
    """How often the network was asked."""
    certificate: Certificate | None = None
    table: Table | None = None
    """The surface, for other weights of the same network."""

    @property
    def promise_kept(self) -> bool:
        """Whether the masks are the network's, or near enough."""
        return self.certificate is None or min(self.certificate.iou.values()) >= PROMISE


def predict_all(
    scorer: Asked, features: dict[str, Tensor], sparsities: Sequence[float] = SPARSITIES, exact: bool = False
) -> Verdict:
    """Scores of all weights of a network, float32 of shape (n,).

    A backbone that is costly by the row is tabulated first if that takes fewer evaluations than scoring every weight.
    The surface is compared with the network on a sample, and refined until its masks at ``sparsities`` agree with the
    network's to an IoU of 0.99. If they never do, a warning is logged and the network scores every weight.

    :param features: each of shape (n,); see :meth:`Scorer.predict`.
    :param exact: ask the network about every weight.
    """
    total = len(next(iter(features.values())))
    if exact or not needs_surface(scorer, total):
        return Verdict(scorer.predict(features), total)
    verdict = tabulate(scorer, features, sparsities)
    if verdict.promise_kept:
        return verdict
    logging.getLogger(__name__).warning("%s: scoring %d weights one by one", not_kept(scorer, verdict), total)
    return Verdict(scorer.predict(features), verdict.evaluations + total)


def needs_surface(scorer: Asked, total: int) -> bool:
    """Whether a surface scores ``total`` weights sooner than the network does."""
    return scorer.network.costly and total > 2 * BUDGETS[0]


def tabulate(
    scorer: Asked, features: dict[str, Tensor], sparsities: Sequence[float], budgets: Sequence[int] = BUDGETS
) -> Verdict:
    """Scores by a surface, and the surface: refined until it keeps the promise or the last budget is spent."""
    columns, compared = [features[name] for name in scorer.inputs], 0
    keep = [max(1, keep_count(len(columns[0]), sparsity)) for sparsity in sparsities]
    evaluate = scorer.predictor(columns[0].device)
    surface = Surface(evaluate, columns, keep)
    for budget in (budget for budget in budgets if 2 * budget < len(columns[0])):
        surface.refine(budget)
        scores = surface(columns)
        certificate = certify(evaluate, columns, scores, keep)
        compared += certificate.sampled
        verdict = Verdict(scores, surface.evaluations + compared, certificate, surface.table)
        if verdict.promise_kept:
            break
    return verdict


def not_kept(scorer: Asked, verdict: Verdict) -> str:
    """The message about a surface that does not keep the promise."""
    worst = min(verdict.certificate.iou.values()) if verdict.certificate else 1.0
    return (
        f"a surface of {verdict.evaluations} evaluations agrees with the {scorer.backbone} scorer with an IoU of "
        f"only {worst:.3f}"
    )
