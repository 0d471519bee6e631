"""ProsPr: saliency by a meta-gradient through the first steps of training."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.rounds import in_turn
from autosparse.criteria.snip import normalised
from autosparse.errors import AutosparseError
from autosparse.masks import Scores


@criterion("prospr", needs=("data", "gradients", "rounds"), paper="Alizadeh et al. 2022, arXiv:2202.08132")
def prospr(
    model: nn.Module, batches: Batches, loss: Loss, steps: int = 3, lr: float = 0.5, momentum: float = 0.9
) -> Scores:
    """|dL(w_M) / dc| / sum with w_0 = c * w_init and w_M after M steps of SGD: sensitivity to the mask, later on.

    The gradient is exact, through every step and its momentum (Alizadeh et al. eq. 3-12, Algorithm 1). Step i takes
    the i-th batch and the final loss the next one; where they run out, they begin again. Memory grows with ``steps``.
    Scores have the weight's shape, are at least 0 and sum to 1 over the network.

    :param steps: M, the number of updates, at least 1.
    """
    if steps < 1:
        raise AutosparseError(f"prospr: steps must be at least 1, got {steps}")
    data = in_turn(batches)
    weights = prunable_or_fail(model)
    mask = {name: torch.ones_like(weight, requires_grad=True) for name, weight in weights.items()}
    now: dict[str, Tensor] = {
        name: mask[name] * p.detach() if name in mask else p.detach().clone().requires_grad_()
        for name, p in model.named_parameters()
    }
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def loss_of(parameters: dict[str, Tensor]) -> Tensor:
        x, y = next(data)
        return loss(functional_call(model, {**parameters, **buffers}, (x,)), y)

    velocity: list[Tensor] | None = None
    for _ in range(steps):
        gradient = torch.autograd.grad(loss_of(now), list(now.values()), create_graph=True, materialize_grads=True)
        velocity = [
            g if velocity is None else momentum * v + g for g, v in zip(gradient, velocity or gradient, strict=True)
        ]
        now = {name: p - lr * v for (name, p), v in zip(now.items(), velocity, strict=True)}
    meta = torch.autograd.grad(loss_of(now), list(mask.values()), materialize_grads=True)
    return normalised({name: g.abs() for name, g in zip(mask, meta, strict=True)})
