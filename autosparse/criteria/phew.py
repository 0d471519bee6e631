"""PHEW: paths with higher edge weights, found by random walks."""

import numpy as np
import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.options import Sparsity
from autosparse.criteria.walks import Walker
from autosparse.errors import AutosparseError
from autosparse.masks import Scores, keep_count, top_k
from autosparse.seeds import generator

FEWEST, MOST = 64, 8192
"""Bounds on how many walks each way are drawn at once; they change no walk's probability."""
LEAST = 0.01
"""Walks stop once a smaller share of their steps than this finds new weights."""


@criterion("phew", paper="Patil & Dovrolis 2021, arXiv:2010.11354")
def phew(model: nn.Module, batches: Batches | None, loss: Loss, sparsity: Sparsity, seed: int = 0) -> Scores:
    """The weights along random walks that prefer large |theta|, from the inputs to the outputs and back in turn.

    A walk goes from a unit to the next with a probability in proportion to |theta| of the weight between them. Units
    are features or channels, and in a kernel one place is drawn in proportion to its |theta|. Walks forward and
    backward alternate and begin at inputs and outputs in turn, until the asked number of weights is kept; the last walk
    may end on its way. So at most one weight per layer lies on no complete path.

    The paper does not say what follows. After a residual sum all weights that leave the unit compete, whichever later
    layer they belong to. After a flatten the columns of a channel are its places. Walks go through depthwise
    convolutions. At low sparsity walks find ever fewer new weights: when fewer than 1 % of their steps find one, the
    largest of the rest are kept instead.

    Needs neither data nor gradients. Scores are |theta|, of the weight's shape and dtype, where kept, -inf elsewhere.

    :raises AutosparseError: if channels cannot be followed through the network, as through attention.
    """
    weights = prunable_or_fail(model)
    try:
        walker = Walker(model, generator(seed, "phew"))
    except AutosparseError as error:
        raise AutosparseError(f"criterion 'phew' walks from channel to channel: {error}") from error
    sizes = [weight.numel() for weight in weights.values()]
    count = keep_count(sum(sizes), sparsity)
    kept = _walked(walker, sum(sizes), count)
    missing = count - int(kept.sum())
    if missing:
        strength = torch.cat([weight.detach().abs().double().cpu().flatten() for weight in weights.values()])
        kept |= top_k(strength.masked_fill(kept, -1.0), missing)
    scores: Scores = {}
    for (name, weight), piece in zip(weights.items(), kept.split(sizes), strict=True):
        stays = piece.view_as(weight).to(weight.device)
        scores[name] = weight.detach().abs().masked_fill(~stays, -torch.inf)
    return scores


def _walked(walker: Walker, total: int, count: int) -> Tensor:
    """The first ``count`` weights along the walks, bool (total,); fewer if walks find too little."""
    kept = torch.zeros(total, dtype=torch.bool)
    missing = count
    while missing:
        together = min(max(FEWEST, missing // (2 * len(walker.layers))), MOST)
        steps = _interleaved([walker.walk(together, forward=True), walker.walk(together, forward=False)])
        new = steps[~kept[steps]].numpy()
        _, first = np.unique(new, return_index=True)
        found = new[np.sort(first)][:missing]
        kept[torch.from_numpy(found)] = True
        missing -= len(found)
        if len(found) < LEAST * len(steps):
            break
    return kept


def _interleaved(ways: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The weights of all steps, walk by walk; the ways take turns."""
    turns = torch.cat([walks * len(ways) + i for i, (walks, _) in enumerate(ways)])
    return torch.cat([weights for _, weights in ways])[turns.argsort(stable=True)]
