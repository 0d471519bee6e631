"""What cannot be ranked, and must not be.

Scores that are all 0 would be pruned by their position, and what is not finite has no place in an order.
"""

from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from autosparse.errors import AutosparseError


def refuse_zeros(scores: Iterable[Tensor], whose: str) -> None:
    """Check the scores that a selection is about to rank, and no others: what is pruned or kept anyway says nothing.

    :param scores: of any shapes; none at all are fine.
    :param whose: completes "every score of ...".
    :raises AutosparseError: if all of them are 0.
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
    """Raise if a score is NaN, or infinite and no mark.

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
                "overflows; check the inputs, take a smaller learning rate if the criterion has one, or "
                "mode 'train', in which BatchNorm keeps activations small"
            )
