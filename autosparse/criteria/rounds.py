"""The one combinator of iterative criteria: score, prune a little, score what is left, and so on."""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches
from autosparse.criteria.gradients import restored
from autosparse.criteria.types import NO_BATCHES
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, Scores, prunable
from autosparse.mode import in_mode
from autosparse.ranking import refuse_zeros, require_finite
from autosparse.schedule import density_after


def geometric_sparsities(sparsity: float, rounds: int) -> list[float]:
    """Sparsity after each of ``rounds``: each prunes the same share of what is left, and the last is ``sparsity``."""
    if rounds < 1:
        raise AutosparseError(f"an iterative criterion needs at least 1 round, got {rounds}")
    return [*(1 - density_after(r, rounds, 1 - sparsity) for r in range(1, rounds)), sparsity]


ScoreRound = Callable[[int, Masks], Scores]
"""``(round from 0, masks so far) -> Scores``; the model's weights are 0 where the masks prune."""


def prune_in_rounds(
    model: nn.Module, sparsities: Sequence[float], score_round: ScoreRound, revive: bool = False
) -> Scores:
    """The outcome of :func:`rounds_of`: the last round's scores, ``-inf`` where its masks prune."""
    rounds = rounds_of(model, sparsities, score_round, revive)
    masks, scores = deque(rounds, maxlen=1).pop()  # the others' scores together would take up gigabytes
    return {name: score.masked_fill(~masks[name], -torch.inf) for name, score in scores.items()}


def rounds_of(
    model: nn.Module,
    sparsities: Sequence[float],
    score_round: ScoreRound,
    revive: bool = False,
    masks: Masks | None = None,
) -> Iterator[tuple[Masks, Scores]]:
    """Score the network as masked so far, and mask it to ``sparsities[i]``, for each i in turn.

    :param sparsities: of the whole network after each round.
    :param revive: whether a pruned weight may come back if it scores high enough; otherwise masks are nested.
    :param masks: to start from; None: dense.
    :return: each round's new masks and the scores that made them. Between rounds and at the end the model's weights
        are as they were.
    :raises AutosparseError: if all scores that a round ranks are 0, or one is not finite.
    """
    masks = masks or Masks.dense(model)
    for i, sparsity in enumerate(sparsities):
        with masked(model, masks):
            scores = score_round(i, masks)
        require_finite(scores, f"scores of round {i + 1}")
        within = None if revive else masks
        ranked = (score if revive else score[masks[name].to(score.device)] for name, score in scores.items())
        refuse_zeros(ranked, f"the {masks.kept} weights left of {masks.total}")
        masks = Masks.from_scores(scores, sparsity, within)
        yield masks, scores


@contextlib.contextmanager
def masked(model: nn.Module, masks: Masks) -> Iterator[None]:
    """Set the pruned weights of ``model`` to 0 within the block, then back to their values."""
    with restored(prunable(model).values()):
        masks.apply_(model)
        yield


@contextlib.contextmanager
def rewinding(model: nn.Module) -> Iterator[None]:
    """Set every parameter and buffer back, bit for bit, when the block ends, however it ends.

    Gradients are dropped and each submodule's mode is restored.
    """
    tensors = [*model.parameters(), *model.buffers()]  # not the state_dict: it lacks non-persistent buffers
    with in_mode(model, None), restored(tensors):
        try:
            yield
        finally:
            model.zero_grad(set_to_none=True)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the prunable weights."""
    return {name: weight.detach().clone() for name, weight in prunable(model).items()}


def in_turn(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches in turn, beginning again after the last, for criteria that take one per step."""
    kept = list(batches)
    if not kept:
        raise AutosparseError(f"{NO_BATCHES}: nothing to score on")
    return itertools.cycle(kept)
