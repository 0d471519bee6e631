"""GraSP averaged over batches."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_score
from autosparse.criteria.grasp import grasp
from autosparse.criteria.options import Positive
from autosparse.masks import Scores


@criterion(
    "grasp-mb",
    needs=("data", "gradients", "hessian-vector products"),
    paper="Wang et al. 2020, arXiv:2002.07376",
    mode="train",
)
def grasp_mb(model: nn.Module, batches: Batches, loss: Loss, temperature: Positive = 1.0) -> Scores:
    """Mean over batches of each batch's theta * (H g), with H and g of that batch alone.

    On several batches ``grasp`` instead multiplies the mean Hessian by the mean gradient. Scores have the weight's
    shape and either sign. In training mode by default, like ``grasp``.

    :param temperature: as in ``grasp``.
    """
    return mean_score(lambda batch: grasp(model, [batch], loss, temperature), batches)
