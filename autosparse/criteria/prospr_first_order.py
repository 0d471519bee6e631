"""ProsPr's first-order approximation, for many steps."""

import copy

import torch
from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_gradient, prunable_or_fail
from autosparse.criteria.meta_gradient import Inner, require_converging
from autosparse.criteria.options import Count, Momentum, Positive
from autosparse.criteria.snip import normalised
from autosparse.masks import Scores


@criterion(
    "prospr-first-order",
    needs=("data", "gradients", "rounds"),
    paper="Alizadeh et al. 2022, arXiv:2202.08132",
    mode="train",
)
def prospr_first_order(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    steps: Count = 1024,
    lr: Positive = 0.1,
    momentum: Momentum = 0.0,
    new_data: bool = True,
) -> Scores:
    """|w_init * dL/dw at w_M| / sum: SNIP with the gradient taken after M steps of SGD.

    The product of the steps' Jacobians is replaced by the identity (Alizadeh et al. eq. 13-17), so memory does not
    grow with ``steps``. Step i takes the i-th batch and the final gradient the next one; if they run out, they
    begin again. Scores have the weight's shape, are at least 0 and sum to 1 over the network.

    Learning rate and momentum are by default those of the authors' command, in training mode, and ``steps`` is what
    their paper takes for ResNet-50 on ImageNet (section 4.2); see ``prospr``.

    :param steps: M, the number of updates; 0 is SNIP on the first batch.
    :param new_data: as in ``prospr``.
    :raises AutosparseError: if the steps diverge.
    """
    inner = Inner(steps, lr, momentum, new_data=new_data)
    data, weights = inner.batches(batches), prunable_or_fail(model)
    trained = copy.deepcopy(model)
    optimizer = torch.optim.SGD(trained.parameters(), lr=lr, momentum=momentum)
    for _ in range(steps):
        x, y = next(data)
        optimizer.zero_grad(set_to_none=True)
        value = loss(trained(x), y)
        value.backward()
        optimizer.step()
    if steps:
        require_converging(value.detach(), steps - 1, inner)  # once: a loss that is not finite does not recover
    gradient = mean_gradient(trained, [next(data)], loss)
    return normalised({name: (weights[name].detach() * g).abs() for name, g in gradient.items()})
