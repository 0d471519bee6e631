"""SNIP: connection sensitivity."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_gradient
from autosparse.masks import Scores, prunable


@criterion("snip", needs=("data", "gradients"), paper="Lee et al. 2019, arXiv:1810.02340")
def snip(model: nn.Module, batches: Batches, loss: Loss) -> Scores:
    """|theta * dL/dtheta| / sum: weights whose removal changes the loss most stay (connection sensitivity).

    With c the mask, dL/dc at c = 1 is theta * dL/dtheta (Lee et al. eq. 4-5; ProsPr eq. 1-2). Over several
    batches L is the mean loss of all their examples. Scores have the weight's shape, are at least 0 and
    sum to 1 over the network (they are all 0 where every gradient is).
    """
    weights = prunable(model)
    saliency = {name: (weights[name].detach() * g).abs() for name, g in mean_gradient(model, batches, loss).items()}
    total = sum(float(s.double().sum()) for s in saliency.values())
    return {name: s / total for name, s in saliency.items()} if total else saliency
