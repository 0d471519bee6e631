"""SNIP-it: SNIP in a few rounds that halve the distance to the target."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.options import Count, Sparsity
from autosparse.criteria.rounds import in_turn, prune_in_rounds
from autosparse.criteria.snip import snip
from autosparse.masks import Scores


@criterion(
    "snip-it", needs=("data", "gradients", "rounds"), paper="Verdenius et al. 2020, arXiv:2006.00896", mode="eval"
)
def snip_it(model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity, steps: Count = 5) -> Scores:
    """SNIP on what is left, along a schedule that starts at half and halves the distance to the target each time.

    Sparsities are s - (s - 1/2) / 2^i for i = 0..steps, then s, as in the authors' code; a target s of at most 1/2
    is reached at once. A pruned weight does not come back; each round takes the next batch. Scores have the
    weight's shape: the last round's saliency of what stays, -inf elsewhere. In evaluation mode by default, as there
    (github.com/StijnVerdenius/SNIP-it, models/criterions/SNIP.py).
    """
    halving = [sparsity - (sparsity - 0.5) * 0.5**i for i in range(steps + 1)] if sparsity > 0.5 else []
    data = in_turn(batches)
    return prune_in_rounds(model, [*halving, sparsity], lambda *_: snip(model, [next(data)], loss))
