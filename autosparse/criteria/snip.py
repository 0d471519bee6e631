"""SNIP: connection sensitivity."""

import copy

import torch
from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_gradient
from autosparse.masks import Scores, prunable
from autosparse.models import kaiming_normal_
from autosparse.seeds import generator


@criterion("snip", needs=("data", "gradients"), paper="Lee et al. 2019, arXiv:1810.02340", mode="eval")
def snip(model: nn.Module, batches: Batches, loss: Loss, reinit: bool = False, seed: int = 0) -> Scores:
    """|theta * dL/dtheta| / sum: keep the weights whose removal would change the loss most (connection sensitivity).

    With c the mask, dL/dc at c = 1 is theta * dL/dtheta (Lee et al. eq. 4-5; ProsPr eq. 1-2). Over several
    batches L is the mean loss of all their examples. Scores have the weight's shape, are at least 0 and
    sum to 1 over the network. In evaluation mode by default, as in the authors' code
    (github.com/namhoonlee/snip-public, snip/prune.py).

    :param reinit: score a Kaiming-normal re-initialised copy of the network instead of the network itself, as some
        published code does.
    :param seed: of that copy.
    """
    if reinit:
        model = kaiming_normal_(copy.deepcopy(model), generator(seed, "snip reinit"))
    weights = prunable(model)
    saliency = {name: (weights[name].detach() * g).abs() for name, g in mean_gradient(model, batches, loss).items()}
    return normalised(saliency)


def normalised(saliency: Scores) -> Scores:
    """Non-negative scores divided by their sum over the network, so that they sum to 1; all-zero scores stay 0.

    In at least float32: in half precision the quotients would tie or vanish.
    """
    saliency = {name: s.to(torch.promote_types(s.dtype, torch.float32)) for name, s in saliency.items()}
    total = sum(float(s.double().sum()) for s in saliency.values())
    return {name: s / total for name, s in saliency.items()} if total else saliency
