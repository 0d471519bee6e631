"""Random pruning, the floor that every criterion must beat."""

import torch
from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.masks import Scores, prunable
from autosparse.seeds import generator


@criterion("random", paper="baseline in Frankle et al. 2021, arXiv:2009.08576")
def random(model: nn.Module, batches: Batches | None, loss: Loss, seed: int = 0) -> Scores:
    """Uniform random scores in [0, 1): every weight is equally likely to stay.

    Scores are float32 of the weight's shape; the same seed gives the same scores on every device. Needs neither data
    nor gradients.
    """
    return {
        name: torch.rand(weight.shape, generator=generator(seed, "random", name)).to(weight.device)
        for name, weight in prunable(model).items()
    }
