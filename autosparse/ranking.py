"""Checks that scores can be ranked.

Scores that are all 0 would be pruned by their position, and scores that are not finite have no place in an order.
"""

from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from autosparse.errors import AutosparseError


def refuse_zeros(scores: Iterable[Tensor], whose: str) -> None:
    """Raise if all the scores that a selection is about to rank are 0.

    :param scores: of any shapes, without those of weights that are pruned or kept anyway; there may be none.
    :param whose: completes "every score of ...".
    """
    some = False
    for score in scores:
        if score.any():
            return
        some = some or score.numel() > 0
    if some:
        raise AutosparseError(
            f"every score of {whose} is 0, so nothing can be ranked: the network's output depends on no single weight, "
            "as with a last layer of zeros, or after a layer has lost all its weights; initialise it otherwise, or "
            "prune less"
        )


def require_finite(scores: Mapping[str, Tensor], whose: str, marks: Collection[float] = ()) -> None:
    """Raise if a score is NaN, or an infinity that is not one of the ``marks``.

    :param whose: names the scores in the message, such as ``scores of round 1``.
    :param marks: infinities by which a criterion marks weights: ``-inf`` if it has pruned them, ``inf`` if they must
        stay.
    """
    for layer, score in scores.items():
        ok = score.isfinite()
        for mark in marks:
            ok |= score == mark
        if not ok.all():
            value = score[~ok].flatten()[0].item()
            raise AutosparseError(
                f"{whose} are not finite ({layer!r} has {value}), so nothing can be ranked: the loss or a gradient "
                "overflows; check the inputs, take a smaller learning rate if the criterion has one, or "
                "mode 'train', in which BatchNorm keeps activations small"
            )
