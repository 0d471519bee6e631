"""AutoS: the learned scorer as a criterion."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_gradient, prunable_or_fail
from autosparse.criteria.mode import EVAL, Mode, in_mode
from autosparse.criteria.options import Sparsity
from autosparse.errors import AutosparseError
from autosparse.masks import Scores, prunable

SPARSITIES = (0.9, 0.95, 0.98, 0.99)
"""Where masks must be right if nothing else is asked."""


class PredictsSurvival(Protocol):
    """What the criterion asks of a scorer (:class:`autosparse.autos.Scorer` is one)."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Which features it reads, of ``param`` and ``grad``."""

    @property
    def gradient_mode(self) -> str:
        """The mode, ``train`` or ``eval``, of the gradients that it learned from."""

    def predict(self, features: dict[str, Tensor]) -> Tensor:
        """Features of some weights, each of shape (n,) -> predicted survival scores (n,)."""

    def predict_all(self, features: dict[str, Tensor], sparsities: Sequence[float], exact: bool) -> Tensor:
        """Features of all weights, each of shape (n,) -> predicted survival scores (n,)."""


@criterion("autos", needs=("gradients", "scorer"), paper="Liu et al. 2024, arXiv:2408.14757, Algorithm 1 and eq. 3")
def autos(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    scorer: PredictsSurvival,
    exact: bool = False,
    near: Sparsity | None = None,
    mode: Mode | None = None,
) -> Scores:
    """AutoS(theta_0, g_0): weights that are predicted to survive iterative pruning longest stay.

    theta_0 are the model's weights as they are, g_0 the gradient of the mean loss over all batches. g_0 is taken in
    the mode in which the scorer learned: evaluation, as in the paper's algorithms, unless its IRP runs say otherwise.
    Scores are float32 of the weight's shape, roughly within [0, 1]. A scorer that reads only ``param`` needs no data.

    :param scorer: from :func:`autosparse.load_scorer` or :func:`autosparse.fit_scorer`.
    :param exact: ask the scorer's network about every weight; otherwise a costly one is tabulated first
        (:func:`autosparse.autos.predict.predict_all`).
    :param near: the sparsity at which a table must give the network's masks; None: at 90, 95, 98 and 99 %.
    :param mode: in which g_0 is taken; None: the scorer's, the only one that it may have.
    :raises AutosparseError: where ``mode`` is not that of a scorer that reads gradients.
    """
    if not hasattr(scorer, "predict_all"):
        raise AutosparseError(
            f"criterion 'autos' needs a scorer, this is {scorer!r}: pass what load_scorer or fit_scorer returns"
        )
    weights = prunable_or_fail(model) if "grad" in scorer.inputs else prunable(model)
    features = survival_features(model, batches, loss, scorer.inputs, mode_for(scorer, mode))
    scores = scorer.predict_all(features, SPARSITIES if near is None else (near,), exact)
    pieces = scores.split([weight.numel() for weight in weights.values()])
    return {name: piece.view_as(weight) for (name, weight), piece in zip(weights.items(), pieces, strict=True)}


def mode_for(scorer: PredictsSurvival, mode: str | None, whose: str = "option mode") -> str:
    """The mode of the gradients that ``scorer`` reads.

    :param mode: that of the gradients at hand; None: they are still to be taken.
    :raises AutosparseError: where it is another: gradients of the two modes are different features.
    """
    if mode not in (None, scorer.gradient_mode) and "grad" in scorer.inputs:
        raise AutosparseError(
            f"{whose} is {mode!r}, but the scorer learned from gradients in mode {scorer.gradient_mode!r}, which are "
            f"other features: use a scorer whose IRP runs have gradient_mode {mode!r}"
        )
    return scorer.gradient_mode


def survival_features(
    model: nn.Module, batches: Batches | None, loss: Loss, inputs: Sequence[str], mode: str = EVAL
) -> dict[str, Tensor]:
    """``param`` and, where ``inputs`` ask for it, ``grad`` of every prunable weight, flat and one after the other.

    :param mode: in which the gradient is taken.
    """
    features = {"param": torch.cat([weight.detach().flatten() for weight in prunable(model).values()])}
    if "grad" in inputs:
        if batches is None:
            raise AutosparseError("this scorer reads gradients and needs data: pass batches, an iterable of (x, y)")
        with in_mode(model, mode):
            features["grad"] = torch.cat([g.flatten() for g in mean_gradient(model, batches, loss).values()])
    return features
