"""The channels that stay, chosen by a score for each, and the scores of weights that follow."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autosparse.channels.mapping import Group
from autosparse.errors import AutosparseError
from autosparse.masks import Scores, keep_count, prunable, top_k
from autosparse.ranking import refuse_zeros


def select_channels(groups: Sequence[Group], scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Keep the globally highest channels: exactly ``n - round(n * sparsity)`` of the n channels of all groups.

    First the best channel of each group stays, so that no layer is cut off; then the best of all others, up to the
    count. Ties are broken by position. A channel of residual-connected layers counts once.

    :param scores: per group a tensor of shape (size,); higher = keep.
    :return: per group a bool tensor of shape (size,), True where the channel stays.
    :raises AutosparseError: if a score is not finite, all are 0, or fewer channels would stay than there are groups.
    """
    total = sum(group.size for group in groups)
    count = keep_count(total, sparsity)
    if count < len(groups):
        highest = math.floor(1e4 * (total - len(groups)) / total) / 1e4
        raise AutosparseError(
            f"sparsity {sparsity} leaves {count} of {total} channels, but each of the {len(groups)} groups of channels "
            f"must keep one: ask for at most {highest}"
        )
    refuse_zeros(scores, "the channels")
    ranked = [score.detach().double().clone() for score in scores]
    for group, score in zip(groups, ranked, strict=True):
        if not score.isfinite().all():
            raise AutosparseError(
                f"channel scores of {group.rows[0]!r} contain NaN or infinity: nothing can be ranked; check the loss "
                "and the inputs"
            )
        score[score.argmax()] = torch.inf
    return list(top_k(torch.cat(ranked), count).split([group.size for group in groups]))


def weight_scores(
    model: nn.Module, groups: Sequence[Group], scores: Sequence[Tensor], kept: Sequence[Tensor]
) -> Scores:
    """Score every prunable weight by its output channel, or with -inf if it computes or reads a channel that goes.

    Both the rows that compute a channel and the columns that read it are pruned, since a BatchNorm or a bias in between
    would keep a channel without weights alive. Weights of the last layer, whose outputs all stay, score inf.

    :param scores: for each group the scores of its channels, (size,).
    :param kept: for each group the channels that stay, bool (size,); see :func:`select_channels`.
    """
    found = {
        name: torch.full(weight.shape, torch.inf, device=weight.device) for name, weight in prunable(model).items()
    }
    for group, score, keep in zip(groups, scores, kept, strict=True):
        marked = score.detach().float().masked_fill(~keep, -torch.inf)
        for layer in group.rows:
            found[f"{layer}.weight"].view(group.size, -1).clamp_(max=marked.unsqueeze(1))
        for layer in group.columns:
            weight = found[f"{layer}.weight"]
            weight.view(len(weight), group.size, -1).masked_fill_(~keep.view(1, -1, 1), -torch.inf)
    return found
