"""What cannot be ranked, and must not be: scores that are all 0 would be pruned by their position."""

from collections.abc import Iterable

from torch import Tensor

from autosparse.errors import AutosparseError


def refuse_zeros(scores: Iterable[Tensor], whose: str) -> None:
    """Check the scores that a selection is about to rank, and no others: what is pruned or kept anyway says nothing.

    :param scores: of any shapes; none at all are fine.
    :param whose: completes "every score of ...".
    :raises AutosparseError: where all of them are 0.
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
