"""The one combinator of iterative criteria: score, prune a little, score what is left, again."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, Scores, prunable
from autosparse.schedule import density_after


def geometric_sparsities(sparsity: float, rounds: int) -> list[float]:
    """Sparsity after each of ``rounds``: the same share of the survivors falls each time, the last is ``sparsity``."""
    if rounds < 1:
        raise AutosparseError(f"an iterative criterion needs at least 1 round, got {rounds}")
    return [*(1 - density_after(r, rounds, 1 - sparsity) for r in range(1, rounds)), sparsity]


def prune_in_rounds(
    model: nn.Module, sparsities: Sequence[float], score_round: Callable[[int], Scores], revive: bool = False
) -> Scores:
    """Call ``score_round(i)`` on the network as masked so far, and mask it to ``sparsities[i]``, for each i in turn.

    :param sparsities: of the whole network after each round; the last is the one asked for.
    :param score_round: scores of every prunable weight; it sees ``model`` with its pruned weights set to 0.
    :param revive: whether a pruned weight may come back where it scores high enough; else masks are nested.
    :return: the last round's scores, ``-inf`` where the last mask prunes, so that selecting by them at the last
        sparsity gives that mask exactly. The model's weights are as they were.
    """
    masks = Masks.dense(model)
    scores: Scores = {}
    for i, sparsity in enumerate(sparsities):
        with masked(model, masks):
            scores = score_round(i)
        masks = Masks.from_scores(scores, sparsity, within=None if revive else masks)
    return {name: score.masked_fill(~masks[name], -torch.inf) for name, score in scores.items()}


@contextlib.contextmanager
def masked(model: nn.Module, masks: Masks) -> Iterator[None]:
    """Within the block the pruned weights of ``model`` are 0; after it they have their values back."""
    saved = weights_of(model)
    masks.apply_(model)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in prunable(model).items():
                weight.copy_(saved[name])


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the prunable weights."""
    return {name: weight.detach().clone() for name, weight in prunable(model).items()}


def in_turn(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches one after the other, from the first again after the last, for criteria that take one per step."""
    kept = list(batches)
    if not kept:
        raise AutosparseError("the iterable of batches is empty (an iterator already used up?): nothing to score on")
    return itertools.cycle(kept)
