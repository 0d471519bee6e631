"""Scoring every weight of a network: by the scorer's network itself, or by a surface that stands for it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from autosparse.autos.certificate import Certificate, certify
from autosparse.autos.surface import Surface
from autosparse.criteria.autos import SPARSITIES
from autosparse.masks import keep_count

if TYPE_CHECKING:
    from autosparse.autos.scorer import Scorer

PROMISE = 0.99
"""Intersection over union of the surface's masks and the network's."""
BUDGETS = (6144, 16384, 65536)
"""Evaluations to spend on a surface altogether: more where fewer do not keep the promise."""


@dataclass(frozen=True)
class Verdict:
    """Scores of all weights and, where a surface gave them, how well it agrees with the network."""

    scores: Tensor
    evaluations: int
    """How often the network was asked."""
    certificate: Certificate | None = None


def predict_all(
    scorer: "Scorer", features: dict[str, Tensor], sparsities: Sequence[float] = SPARSITIES, exact: bool = False
) -> Verdict:
    """Scores of all weights of a network, float32 of shape (n,).

    A backbone that is costly by the row is tabulated first where there are more weights than that takes; the surface
    is compared with the network on a sample, and refined until its masks at ``sparsities`` agree with the network's
    to an IoU of 0.99. Where they never do, a warning is logged and the network scores every weight.

    :param features: each of shape (n,); see :meth:`Scorer.predict`.
    :param exact: ask the network about every weight.
    """
    total = len(next(iter(features.values())))
    if exact or not scorer.network.costly or total <= 2 * BUDGETS[0]:
        return Verdict(scorer.predict(features), total)
    columns, keep = [features[name] for name in scorer.inputs], _counts(total, sparsities)

    def evaluate(asked: list[Tensor]) -> Tensor:
        return scorer.predict(dict(zip(scorer.inputs, asked, strict=True)))

    surface, compared = Surface(evaluate, columns, keep), 0
    for budget in (budget for budget in BUDGETS if 2 * budget < total):
        surface.refine(budget)
        scores = surface(columns)
        certificate = certify(evaluate, columns, scores, keep)
        compared += certificate.sampled
        if min(certificate.iou.values()) >= PROMISE:
            return Verdict(scores, surface.evaluations + compared, certificate)
    logging.getLogger(__name__).warning(
        "a surface of %d points agrees with the %s scorer to an IoU of %.3f only: scoring %d weights one by one",
        surface.evaluations, scorer.backbone, min(certificate.iou.values()), total,
    )  # fmt: skip
    return Verdict(scorer.predict(features), surface.evaluations + compared + total)


def _counts(total: int, sparsities: Sequence[float]) -> list[int]:
    return [max(1, keep_count(total, sparsity)) for sparsity in sparsities]
