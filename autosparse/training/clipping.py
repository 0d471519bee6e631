"""Gradients clipped by their norm, before the optimiser's step, as ``torch.nn.utils.clip_grad_norm_`` does it.

Gradients of pruned weights do not count in the norm, so that a masked network and the compact one that is trained in
its place have the same norm. They are scaled with the others, though, because methods that grow weights read them.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from autosparse.masks import Masks, prunable

TINY = 1e-6
"""What ``clip_grad_norm_`` adds to the norm that it divides by."""


def clip_gradients(
    model: nn.Module, optimizer: torch.optim.Optimizer, most: float, masks: Callable[[], Masks | None]
) -> None:
    """Clip the gradients of ``model`` before each step of ``optimizer``.

    :param masks: returns the present ones.
    """
    parameters = list(model.parameters())
    seen: list[Masks | None] = [None]
    pruned: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def clip(*_: object) -> None:
        if (now := masks()) is not seen[0]:
            seen[0] = now
            pruned.clear()
            pruned.update(_pruned(model, now))
        found = [_counted(parameter, pruned) for parameter in parameters if parameter.grad is not None]
        clip_grads_with_norm_(parameters, most, get_total_norm(found))

    optimizer.register_step_pre_hook(clip)


def clip_each(
    members: Sequence[Sequence[tuple[Tensor, int | None]]],
    optimizer: torch.optim.Optimizer,
    most: float,
    pruned: Mapping[Tensor, Tensor],
) -> None:
    """Clip the gradients of stacked networks before each step, those of each member by its own norm.

    :param members: for each its parameters: a tensor, and the member's index in it; None: all of the tensor is its own.
    :param pruned: by tensor, True for each pruned weight, in the shape of the tensor.
    """
    tensors = list(dict.fromkeys(tensor for member in members for tensor, _ in member))
    shared = [tensor for tensor, at in members[0] if at is not None]

    @torch.no_grad()
    def clip(*_: object) -> None:
        found = {tensor: _counted(tensor, pruned) for tensor in tensors if tensor.grad is not None}
        norms = []
        for member in members:
            held = [(found[tensor], at) for tensor, at in member if tensor in found]
            norms.append(get_total_norm([grad if at is None else grad[at] for grad, at in held]))
        factors = (most / (torch.stack(norms) + TINY)).clamp(max=1.0)
        for factor, member in zip(factors, members, strict=True):
            for tensor, at in member:
                if at is None and tensor.grad is not None:
                    tensor.grad.mul_(factor)
        for tensor in shared:
            if tensor.grad is not None:
                tensor.grad.mul_(factors.view(-1, *[1] * (tensor.dim() - 1)))

    optimizer.register_step_pre_hook(clip)


def _pruned(model: nn.Module, masks: Masks | None) -> dict[Tensor, Tensor]:
    weights = prunable(model)
    return {weights[name]: ~mask.to(weights[name].device) for name, mask in (masks or {}).items() if not mask.all()}


def _counted(parameter: Tensor, pruned: Mapping[Tensor, Tensor]) -> Tensor:
    """The gradient of a parameter, 0 where it is pruned."""
    assert parameter.grad is not None
    where = pruned.get(parameter)
    return parameter.grad if where is None else parameter.grad.masked_fill(where, 0.0)
