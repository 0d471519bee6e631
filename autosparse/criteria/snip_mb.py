"""SNIP averaged over batches."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_score
from autosparse.criteria.snip import snip
from autosparse.masks import Scores


@criterion(
    "snip-mb",
    needs=("data", "gradients"),
    paper="Lee et al. 2019, arXiv:1810.02340; de Jorge et al. 2021",
    mode="train",
)
def snip_mb(model: nn.Module, batches: Batches, loss: Loss, reinit: bool = False, seed: int = 0) -> Scores:
    """Mean over batches of each batch's connection sensitivity |theta * dL/dtheta| / sum.

    Unlike ``snip`` on several batches, the absolute value is taken before the mean: gradients that differ in sign from
    batch to batch do not cancel. Scores have the weight's shape, are at least 0 and sum to 1 over the network.
    In training mode by default, as in de Jorge et al.'s code (github.com/naver/force).

    :param reinit, seed: as in ``snip``.
    """
    return mean_score(lambda batch: snip(model, [batch], loss, reinit, seed), batches)
