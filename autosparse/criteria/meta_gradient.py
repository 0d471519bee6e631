"""The gradient of the loss after some steps of training, with respect to what the training began with."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call

from autosparse.criteria import Batches, Loss
from autosparse.criteria.gradients import twice_differentiable
from autosparse.criteria.options import OneOf
from autosparse.criteria.rounds import in_turn
from autosparse.errors import AutosparseError

InnerOptimizer = Annotated[str, OneOf(("momentum", "sgd"), why="ProsPr differentiates through its steps")]
"""Named as in recipes. Adam's step has no derivative where a gradient is 0."""

FirstBuffer = Annotated[str, OneOf(("detached", "differentiated"))]
"""What momentum starts from: the first gradient as a constant, or as a function of the mask like all later ones."""


@dataclass(frozen=True)
class Inner:
    """The steps of training that ProsPr differentiates through."""

    steps: int
    lr: float
    momentum: float
    optimizer: str = "momentum"
    first_buffer: str = "detached"
    new_data: bool = True

    def batches(self, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
        """A batch for each step and one for the final loss: the next one each time, or always the first."""
        data = in_turn(batches)
        return data if self.new_data else itertools.repeat(next(data))

    @property
    def friction(self) -> float:
        """The momentum that the optimizer uses: 0 for ``sgd``."""
        return self.momentum if self.optimizer == "momentum" else 0.0


@twice_differentiable()
def meta_gradient(
    model: nn.Module, batches: Batches, loss: Loss, mask: Sequence[Tensor], masked: Mapping[str, Tensor], inner: Inner
) -> tuple[Tensor, ...]:
    """dL(w_M) / dmask, where w_M is what M = ``inner.steps`` steps of SGD make of the model with weights ``masked``.

    It is computed by automatic differentiation through every step (Alizadeh et al. 2022, eq. 3-12, Algorithm 1). With
    momentum and a ``detached`` first buffer, the first step passes on no derivative of its gradient, nor do its traces
    in later steps. Memory grows with ``steps``. The model is left as it was.

    :param mask: leaves that require a gradient.
    :param masked: weights computed from ``mask``, by name; the other parameters are taken from the model.
    :return: a tensor per entry of ``mask``, of its shape.
    :raises AutosparseError: if the training diverges.
    """
    data = inner.batches(batches)
    # a shared weight is listed under its first name, and may be masked under another
    shared = {id(model.get_parameter(name)): weight for name, weight in masked.items()}
    current: dict[str, Tensor] = {
        name: shared[id(p)] if id(p) in shared else p.detach().clone().requires_grad_()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    fixed = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    fixed |= {name: buffer.clone() for name, buffer in model.named_buffers()}

    def loss_of(parameters: dict[str, Tensor], step: int) -> Tensor:
        x, y = next(data)
        value = loss(functional_call(model, {**parameters, **fixed}, (x,)), y)
        require_converging(value, step, inner)
        return value

    velocity: list[Tensor] = []
    for step in range(inner.steps):
        value = loss_of(current, step)
        gradient = torch.autograd.grad(value, list(current.values()), create_graph=True, materialize_grads=True)
        if inner.friction == 0:
            velocity = list(gradient)
        elif step == 0:
            velocity = [g.detach() if inner.first_buffer == "detached" else g for g in gradient]
        else:
            velocity = [inner.friction * v + g for g, v in zip(gradient, velocity, strict=True)]
        current = {name: p - inner.lr * v for (name, p), v in zip(current.items(), velocity, strict=True)}
    return torch.autograd.grad(loss_of(current, inner.steps), list(mask), materialize_grads=True)


def require_converging(loss: Tensor, step: int, inner: Inner) -> None:
    """Raise if the loss after ``step`` steps is not finite: such a training says nothing about the weights."""
    if not loss.isfinite():
        after = f"after {step} of its {inner.steps} training steps" if step else "of the untrained network"
        raise AutosparseError(
            f"ProsPr's training diverges: the loss {after} is {loss.item()} (lr {inner.lr:g}, momentum "
            f"{inner.friction:g}); take a smaller lr, or mode 'train', in which BatchNorm keeps activations small"
        )
