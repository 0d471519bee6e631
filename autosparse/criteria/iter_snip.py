"""Iter-SNIP: SNIP in rounds."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.options import AtLeastOne, Sparsity
from autosparse.criteria.rounds import geometric_sparsities, in_turn, prune_in_rounds
from autosparse.criteria.snip import snip
from autosparse.masks import Scores


@criterion(
    "iter-snip", needs=("data", "gradients", "rounds"), paper="de Jorge et al. 2021, arXiv:2006.09081", mode="train"
)
def iter_snip(model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity, rounds: AtLeastOne = 60) -> Scores:
    """SNIP on what is left, round by round, along a geometric schedule; a pruned weight does not come back.

    Round t keeps a share (1 - sparsity) ** (t / rounds) (de Jorge et al. eq. 8) and takes the next batch. Scores have
    the weight's shape: the last round's saliency of what stays, -inf elsewhere. In training mode by default, as in the
    authors' code (github.com/naver/force).
    """
    data = in_turn(batches)
    return prune_in_rounds(model, geometric_sparsities(sparsity, rounds), lambda *_: snip(model, [next(data)], loss))
