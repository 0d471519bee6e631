"""Scores must be numbers: what is not finite cannot be ranked, and must not be."""

from collections.abc import Collection

from autosparse.errors import AutosparseError
from autosparse.masks import Scores


def require_finite(scores: Scores, whose: str, marks: Collection[float] = ()) -> None:
    """Raise where a score is NaN, or infinite and no mark.

    :param whose: what they are, for the message, such as ``scores of round 1``.
    :param marks: infinities that are no scores: ``-inf`` of what a criterion has pruned, ``inf`` of what it must keep.
    """
    for layer, score in scores.items():
        ok = score.isfinite()
        for mark in marks:
            ok |= score == mark
        if not ok.all():
            value = score[~ok].flatten()[0].item()
            raise AutosparseError(
                f"{whose} are not finite ({layer!r} has {value}), so nothing can be ranked: the loss or a gradient "
                "overflows; check the inputs, take a smaller learning rate where the criterion has one, or "
                "mode 'train', in which BatchNorm keeps activations small"
            )
