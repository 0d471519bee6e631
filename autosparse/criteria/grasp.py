"""GraSP: gradient signal preservation."""

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_gradient, prunable_or_fail, twice_differentiable, untouched_buffers
from autosparse.criteria.options import Positive
from autosparse.masks import Scores
from autosparse.seeds import kept_generators


@criterion(
    "grasp",
    needs=("data", "gradients", "hessian-vector products"),
    paper="Wang et al. 2020, arXiv:2002.07376",
    mode="train",
)
@twice_differentiable()
def grasp(model: nn.Module, batches: Batches, loss: Loss, temperature: Positive = 1.0) -> Scores:
    """theta * (H g): weights whose removal reduces the gradient flow most stay.

    g is the gradient and H the Hessian of the mean loss over all examples with respect to the prunable weights (Wang et
    al. eq. 8, Algorithm 1). They remove the weights with the highest -theta * H g, so the score to keep is its
    negative. The product is exact, by double backward, over the same batches as g: two passes. Scores have the weight's
    shape and either sign. In training mode by default, as in the authors' code (github.com/alecwangcq/GraSP,
    pruner/GraSP.py, where ``.eval()`` is commented out).

    :param temperature: divides the logits (the authors' code uses 200; their paper, and the default here, 1).
    """
    batches = list(batches) if iter(batches) is batches else batches

    def tempered(logits: Tensor, y: Tensor) -> Tensor:
        return loss(logits / temperature, y)

    weights = prunable_or_fail(model)
    device = next(iter(weights.values())).device
    with kept_generators(device):  # dropout is the same in both passes
        gradient = mean_gradient(model, batches, tempered)
    products = [torch.zeros_like(weight, dtype=torch.float64) for weight in weights.values()]
    examples = 0
    with untouched_buffers(model):
        for x, y in batches:
            flow = torch.autograd.grad(
                tempered(model(x), y), list(weights.values()), create_graph=True, materialize_grads=True
            )
            along = torch.stack([(first * g).sum() for first, g in zip(flow, gradient.values(), strict=True)]).sum()
            for total, product in zip(
                products, torch.autograd.grad(along, list(weights.values()), materialize_grads=True), strict=True
            ):
                total.add_(product, alpha=len(x))
            examples += len(x)
    return {
        name: weight.detach() * (total / examples).to(torch.promote_types(weight.dtype, torch.float32))
        for (name, weight), total in zip(weights.items(), products, strict=True)
    }
