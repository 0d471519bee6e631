"""AutoS: the learned scorer as a criterion."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.by_features import InRounds, exchanged, prune_by_features
from autosparse.criteria.gradients import mean_gradient, prunable_or_fail
from autosparse.criteria.options import AtLeastOne, Count, Mode, Positive, Sparsity
from autosparse.errors import AutosparseError, UnknownName
from autosparse.masks import Scores, prunable
from autosparse.mode import EVAL, in_mode
from autosparse.seeds import generator

SPARSITIES = (0.9, 0.95, 0.98, 0.99)
"""The sparsities at which masks must be right if the caller names none."""


class PredictsSurvival(Protocol):
    """What the criterion asks of a scorer (:class:`autosparse.autos.Scorer` is one)."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features that it reads; only ``param`` and ``grad`` if it prunes in one shot."""

    @property
    def gradient_mode(self) -> str:
        """The mode, ``train`` or ``eval``, of the gradients that it learned from."""

    def predict(self, features: dict[str, Tensor]) -> Tensor:
        """Features of some weights, each of shape (n,) -> predicted survival scores (n,)."""

    def predict_all(self, features: dict[str, Tensor], sparsities: Sequence[float], exact: bool) -> Tensor:
        """Features of all weights, each of shape (n,) -> predicted survival scores (n,)."""

    def clipped(self, features: Mapping[str, Tensor], deviations: float) -> dict[str, Tensor]:
        """The features, each clamped to within ``deviations`` standard deviations of its mean over the fit's rows."""


@criterion("autos", needs=("gradients", "scorer"), paper="Liu et al. 2024, arXiv:2408.14757, Algorithm 1 and eq. 3")
def autos(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    scorer: PredictsSurvival,
    exact: bool = False,
    near: Sparsity | None = None,
    mode: Mode | None = None,
    rounds: AtLeastOne | None = None,
    steps: Count | None = None,
    revive: bool | None = None,
    permute: str | None = None,
    clip: Positive | None = None,
    seed: int = 0,
) -> Scores:
    """AutoS(theta_0, g_0): keep the weights predicted to survive iterative pruning longest.

    theta_0 are the model's weights as they are, g_0 the gradient of the mean loss over all batches. g_0 is taken in
    the mode in which the scorer learned: evaluation, as in the paper's algorithms, unless its IRP runs say otherwise.
    Scores are float32 of the weight's shape, roughly within [0, 1]. A scorer that reads only ``param`` needs no data.

    A scorer that was made for rounds reads features of the network as masked so far, and prunes in the rounds and with
    the steps of training that it was made for, unless the options differ. Its scores are the last round's for what
    stays, -inf elsewhere.

    :param scorer: from :func:`autosparse.load_scorer` or :func:`autosparse.fit_scorer`.
    :param exact: evaluate the scorer's network at every weight; otherwise a costly one that prunes in one shot is
        tabulated first (:func:`autosparse.autos.predict.predict_all`).
    :param near: the sparsity that rounds end at, or at which a table must give the network's masks; None: a table is
        right at 90, 95, 98 and 99 %.
    :param mode: in which gradients are taken; None: the scorer's, the only one that is accepted.
    :param rounds: on a geometric schedule, with features taken again in each; None: the scorer's own, or one shot.
    :param steps: of training in each round, for features measured after training; None: the scorer's own.
    :param revive: whether what a round prunes may come back; None: the scorer's own choice, or no.
    :param permute: an input whose values are exchanged at random between all weights of the network, in each round. The
        accuracy that this costs says how important the input is.
    :param clip: number of standard deviations. An input further than that from its mean, over the rows that the scorer
        learned from, is moved to that distance, so that the scorer does not extrapolate. None: inputs stay as they are.
    :param seed: of the exchange.
    :raises UnknownName: if the scorer does not read ``permute``.
    :raises AutosparseError: if ``mode`` is not that of a scorer that reads gradients, ``near`` is missing for rounds,
        or features that the scorer reads need data or steps that are not given.
    """
    if not hasattr(scorer, "predict_all"):
        raise AutosparseError(
            f"criterion 'autos' needs a scorer, this is {scorer!r}: pass what load_scorer or fit_scorer returns"
        )
    if permute is not None and permute not in scorer.inputs:
        raise UnknownName("input of this scorer to permute", permute, scorer.inputs)
    draws = generator(seed, "permute", permute)
    mode = mode_for(scorer, mode)
    how = _rounds(scorer, rounds, steps, revive)

    def taken(features: dict[str, Tensor]) -> dict[str, Tensor]:
        return features if clip is None else scorer.clipped(features, clip)

    if how is not None:
        if near is None:
            raise AutosparseError("this scorer prunes in rounds: give near, the sparsity to prune to, or call prune()")
        with in_mode(model, mode):
            return prune_by_features(
                model, batches, loss, near, scorer.inputs, lambda name, i, columns: scorer.predict(taken(columns)), how,
                "this scorer", permute, draws,
            )  # fmt: skip
    weights = prunable(model) or prunable_or_fail(model)  # which says that there are none
    features = survival_features(model, batches, loss, scorer.inputs, mode)
    if permute is not None:
        features[permute] = exchanged(features[permute], draws)
    scores = scorer.predict_all(taken(features), SPARSITIES if near is None else (near,), exact)
    pieces = scores.split([weight.numel() for weight in weights.values()])
    return {name: piece.view_as(weight) for (name, weight), piece in zip(weights.items(), pieces, strict=True)}


def _rounds(scorer: PredictsSurvival, rounds: int | None, steps: int | None, revive: bool | None) -> InRounds | None:
    """How to prune in rounds; None: in one shot."""
    made_for: InRounds | None = getattr(scorer, "in_rounds", None)
    if made_for is None and rounds is None and steps is None and not revive:
        return None
    made_for = made_for or InRounds(rounds=1)
    count = made_for.steps.count if steps is None else steps
    return replace(
        made_for,
        rounds=rounds or made_for.rounds,
        steps=replace(made_for.steps, count=count),
        revive=made_for.revive if revive is None else revive,
    )


def mode_for(scorer: PredictsSurvival, mode: str | None, whose: str = "option mode") -> str:
    """The mode of the gradients that ``scorer`` reads.

    :param mode: that of the gradients at hand; None: they are still to be taken.
    :raises AutosparseError: if that is another mode, since gradients of the two modes are different features.
    """
    if mode not in (None, scorer.gradient_mode) and set(scorer.inputs) != {"param"}:
        raise AutosparseError(
            f"{whose} is {mode!r}, but the scorer learned from gradients in mode {scorer.gradient_mode!r}. "
            "Gradients of the two modes are different features: use a scorer whose IRP runs have gradient_mode "
            f"{mode!r}"
        )
    return scorer.gradient_mode


def survival_features(
    model: nn.Module, batches: Batches | None, loss: Loss, inputs: Sequence[str], mode: str = EVAL
) -> dict[str, Tensor]:
    """``param`` and, if ``inputs`` ask for it, ``grad`` of every prunable weight, flat and one after the other.

    :param mode: in which the gradient is taken.
    """
    features = {"param": torch.cat([weight.detach().flatten() for weight in prunable(model).values()])}
    if "grad" in inputs:
        if batches is None:
            raise AutosparseError("this scorer reads gradients and needs data: pass batches, an iterable of (x, y)")
        with in_mode(model, mode):
            features["grad"] = torch.cat([g.flatten() for g in mean_gradient(model, batches, loss).values()])
    return features
