"""Magnitude pruning."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.masks import Scores, prunable


@criterion(
    "magnitude", paper="Han et al. 2015, arXiv:1506.02626; at initialisation in Frankle et al. 2021, arXiv:2009.08576"
)
def magnitude(model: nn.Module, batches: Batches | None, loss: Loss) -> Scores:
    """|theta|: large weights stay.

    Scores have the weight's shape and dtype. Needs neither data nor gradients.
    """
    return {name: weight.detach().abs() for name, weight in prunable(model).items()}
