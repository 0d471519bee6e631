"""Random pruning of whole channels, the floor of the structured criteria."""

import torch
from torch import nn

from autosparse.channels import channel_groups, select_channels, weight_scores
from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.options import Sparsity
from autosparse.masks import Scores
from autosparse.seeds import generator


@criterion("random-structured", needs=("channels",), paper="baseline in van Amersfoort et al. 2020, arXiv:2007.00389")
def random_structured(
    model: nn.Module, batches: Batches | None, loss: Loss, sparsity: Sparsity, seed: int = 0
) -> Scores:
    """Random whole channels stay, each with the same probability.

    ``sparsity`` is the share of removable channels that go (see :func:`autosparse.channels.select_channels`). Scores
    are float32 of the weight's shape, uniform in [0, 1) per channel, -inf where pruned. Needs no data.
    """
    groups = channel_groups(model)
    draws = [generator(seed, "random-structured", group.rows[0]) for group in groups]
    device = next(model.parameters()).device
    scores = [torch.rand(g.size, generator=draw).to(device) for g, draw in zip(groups, draws, strict=True)]
    return weight_scores(model, groups, scores, select_channels(groups, scores, sparsity))
