"""The gradient of the loss after some steps of training by what the training began with."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call

from autosparse.criteria import Batches, Loss
from autosparse.criteria.gradients import twice_differentiable
from autosparse.criteria.options import OneOf
from autosparse.criteria.rounds import in_turn

InnerOptimizer = Annotated[str, OneOf(("momentum", "sgd"), why="ProsPr differentiates through its steps")]
"""Called as recipes call them. Adam's step has no derivative where a gradient is 0."""


def momentum_of(optimizer: str, momentum: float) -> float:
    """The momentum of an :data:`InnerOptimizer`."""
    return momentum if optimizer == "momentum" else 0.0


@twice_differentiable()
def meta_gradient(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    mask: Sequence[Tensor],
    masked: Mapping[str, Tensor],
    steps: int,
    lr: float,
    momentum: float,
) -> tuple[Tensor, ...]:
    """dL(w_M) / dmask, where w_M is what ``steps`` = M steps of SGD make of the model with the weights ``masked``.

    Exact, through every step and its momentum (Alizadeh et al. 2022, eq. 3-12, Algorithm 1). Step i takes the i-th
    batch and the final loss the next one; where they run out, they begin again. Memory grows with ``steps``. The model
    is left as it was.

    :param mask: leaves that require a gradient.
    :param masked: weights computed from ``mask``, by name; the other parameters are taken from the model.
    :return: a tensor per entry of ``mask``, of its shape.
    """
    data = in_turn(batches)
    now: dict[str, Tensor] = {
        name: masked[name] if name in masked else p.detach().clone().requires_grad_()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    fixed = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    fixed |= {name: buffer.clone() for name, buffer in model.named_buffers()}

    def loss_of(parameters: dict[str, Tensor]) -> Tensor:
        x, y = next(data)
        return loss(functional_call(model, {**parameters, **fixed}, (x,)), y)

    velocity: list[Tensor] | None = None
    for _ in range(steps):
        gradient = torch.autograd.grad(loss_of(now), list(now.values()), create_graph=True, materialize_grads=True)
        velocity = [
            g if velocity is None else momentum * v + g for g, v in zip(gradient, velocity or gradient, strict=True)
        ]
        now = {name: p - lr * v for (name, p), v in zip(now.items(), velocity, strict=True)}
    return torch.autograd.grad(loss_of(now), list(mask), materialize_grads=True)
