"""ProsPr: saliency by a meta-gradient through the first steps of training."""

import torch
from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.meta_gradient import FirstBuffer, Inner, InnerOptimizer, meta_gradient
from autosparse.criteria.options import AtLeastOne, Momentum, Positive
from autosparse.criteria.snip import normalised
from autosparse.masks import Scores


@criterion(
    "prospr", needs=("data", "gradients", "rounds"), paper="Alizadeh et al. 2022, arXiv:2202.08132", mode="train"
)
def prospr(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    steps: AtLeastOne = 3,
    lr: Positive = 0.1,
    momentum: Momentum = 0.0,
    optimizer: InnerOptimizer = "momentum",
    first_buffer: FirstBuffer = "detached",
    new_data: bool = True,
) -> Scores:
    """|dL(w_M) / dc| / sum with w_0 = c * w_init and w_M after M steps of SGD: sensitivity to the mask, later on.

    The gradient is taken through every step (Alizadeh et al. eq. 3-12, Algorithm 1). Step i takes the i-th batch and
    the final loss the next one; if they run out, they begin again. Memory grows with ``steps``. Scores have the
    weight's shape, are at least 0 and sum to 1 over the network.

    Steps, learning rate and momentum are by default those of the authors' command (github.com/mil-ad/prospr, cli.py:
    3, 0.1 and none), in training mode as there (prospr/prospr.py). The example in their README has 0.5 and 0.9.

    :param steps: M, the number of updates, at least 1.
    :param momentum: 0 is plain SGD.
    :param optimizer: ``momentum``, or ``sgd`` without it; others are refused, as no gradient flows through them.
    :param first_buffer: of momentum: ``detached``, as in the authors' code, which copies the first gradient as a
        constant; or ``differentiated``, the exact gradient through all of it. Without momentum it does not matter.
    :param new_data: False takes the first batch for all steps and the final loss, as the authors' command does; their
        paper (section 3) draws a new one each time.
    :raises AutosparseError: if the steps diverge, as they may if BatchNorm is in evaluation mode.
    """
    weights = prunable_or_fail(model)
    mask = {name: torch.ones_like(weight, requires_grad=True) for name, weight in weights.items()}
    masked = {name: mask[name] * weight.detach() for name, weight in weights.items()}
    inner = Inner(steps, lr, momentum, optimizer, first_buffer, new_data)
    meta = meta_gradient(model, batches, loss, list(mask.values()), masked, inner)
    return normalised({name: g.abs() for name, g in zip(mask, meta, strict=True)})
