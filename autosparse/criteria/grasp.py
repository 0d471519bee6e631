"""GraSP: gradient signal preservation."""

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_derivative, mean_gradient, prunable_or_fail, twice_differentiable
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
    """theta * (H g): keep the weights whose removal would reduce gradient flow most.

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
    parameters = list(weights.values())
    with kept_generators(parameters[0].device):  # dropout is the same in both passes
        gradient = mean_gradient(model, batches, tempered)

    def product(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        flow = torch.autograd.grad(tempered(model(x), y), parameters, create_graph=True, materialize_grads=True)
        along = torch.stack([(first * g).sum() for first, g in zip(flow, gradient.values(), strict=True)]).sum()
        return torch.autograd.grad(along, parameters, materialize_grads=True)

    products = mean_derivative(model, batches, product)
    return {name: weight.detach() * products[name] for name, weight in weights.items()}
