"""Networks of one architecture as one: parameters stacked, each layer a single batched kernel for all members."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LANES = 16
"""The most numbers that a vector register holds.

The vector kernels of optimisers round numbers that do not fill a whole register differently from the rest. So
parameters whose size is not a multiple of this are stored separately, and stacked anew in each forward pass.
"""


class Stack(nn.Module):
    """Members folded into the batch: (members * batch, ...) -> (members * batch, classes), member by member.

    The architecture's own ``forward`` runs on the folded batch. Only layers with parameters or buffers know of the
    members.

    :raises KeyError: with a layer's type if that has parameters or buffers and no stacked form; see
        :func:`autosparse.training.stackable.why_not_stacked`.
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        self.network = copy.deepcopy(members[0])
        for name, layer in list(self.network.named_modules()):
            if owns_tensors(layer):
                stacked = STACKED[type(layer)]([member.get_submodule(name) for member in members])
                if name:
                    self.network.set_submodule(name, stacked)
                else:
                    self.network = stacked

    def forward(self, folded: Tensor) -> Tensor:
        """All members' logits."""
        return self.network(folded)

    def place(self, name: str, member: int) -> tuple[Tensor, int | None]:
        """The tensor that holds a member's parameter ``name``, and the member's index in it.

        The index is None if the whole tensor is that member's.
        """
        layer, _, attribute = name.rpartition(".")
        stacked = self.network.get_submodule(layer)
        assert isinstance(stacked, _Stacked)
        values = stacked.stored(attribute)
        return (values[0], member) if stacked.in_one(attribute) else (values[member], None)

    def write_back(self) -> None:
        """Copy parameters and buffers to the members."""
        for layer in self.network.modules():
            if isinstance(layer, _Stacked):
                layer.write_back()


def owns_tensors(layer: nn.Module) -> bool:
    """Whether ``layer`` itself, not one within it, has parameters or buffers, so that each member needs its own."""
    parameter, buffer = next(layer.parameters(recurse=False), None), next(layer.buffers(recurse=False), None)
    return parameter is not None or buffer is not None


class _Stacked(nn.Module):
    """One layer of all members.

    :param twins: that layer of each member.
    """

    def __init__(self, twins: Sequence[Any]):
        super().__init__()
        self.twins = tuple(twins)  # no ModuleList: their parameters are theirs
        for name, parameter in twins[0].named_parameters(recurse=False):
            values = [getattr(twin, name).detach() for twin in twins]
            for index, value in enumerate([torch.stack(values)] if self.in_one(name) else values):
                self.register_parameter(f"{name}_{index}", nn.Parameter(value.clone(), parameter.requires_grad))
        for name, _ in twins[0].named_buffers(recurse=False):
            self.register_buffer(name, torch.stack([getattr(twin, name) for twin in twins]))

    def in_one(self, name: str) -> bool:
        """Whether one tensor (members, *shape) holds the parameter ``name`` of all members."""
        numbers: int = getattr(self.twins[0], name).numel()
        return numbers % LANES == 0

    def stored(self, name: str) -> list[Tensor]:
        """The parameter ``name``: one tensor (members, *shape), or one for each member."""
        return [getattr(self, f"{name}_{index}") for index in range(1 if self.in_one(name) else len(self.twins))]

    def each(self, name: str) -> Tensor | None:
        """The parameter ``name`` of all members, (members, *shape); None if they have none of that name."""
        if getattr(self.twins[0], name) is None:
            return None
        values = self.stored(name)
        return values[0] if self.in_one(name) else torch.stack(values)

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy parameters and buffers to the members."""
        for name, _ in self.twins[0].named_parameters(recurse=False):
            stacked = self.each(name)
            assert stacked is not None
            for twin, value in zip(self.twins, stacked, strict=True):
                getattr(twin, name).copy_(value)
        for name, values in self.named_buffers(recurse=False):
            for twin, value in zip(self.twins, values, strict=True):
                getattr(twin, name).copy_(value)

    def beside(self, folded: Tensor) -> Tensor:
        """Put members side by side: (members * batch, channels, ...) -> (batch, members * channels, ...)."""
        apart = folded.unflatten(0, (len(self.twins), -1))
        return apart.transpose(0, 1).flatten(1, 2)

    def folded(self, beside: Tensor) -> Tensor:
        """Undo :meth:`beside`: (batch, members * channels, ...) -> (members * batch, channels, ...)."""
        apart = beside.unflatten(1, (len(self.twins), -1))
        return apart.transpose(0, 1).flatten(0, 1)


class _Linear(_Stacked):
    def forward(self, folded: Tensor) -> Tensor:
        rows = folded.reshape(len(self.twins), -1, folded.shape[-1])
        products: Tensor = _Products.apply(*map(_as_autocast, (rows, self.each("weight"), self.each("bias"))))
        return products.view(*folded.shape[:-1], products.shape[-1])


def _as_autocast(tensor: Tensor | None) -> Tensor | None:
    """Cast as autocast would for a linear layer; a cast within :class:`_Products` would be hidden from autograd."""
    if tensor is None or tensor.dtype == torch.float64 or not torch.is_autocast_enabled(tensor.device.type):
        return tensor
    return tensor.to(torch.get_autocast_dtype(tensor.device.type))


class _Products(torch.autograd.Function):
    """Each member's linear layer as one batched product, forward and backward in the order of a layer alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        if bias is None:
            return torch.bmm(x, weight.mT)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(grad, weight) if of_x else None,
            torch.bmm(grad.mT, x) if of_weight else None,
            grad.sum(1) if of_bias else None,
        )


class _Conv2d(_Stacked):
    def forward(self, folded: Tensor) -> Tensor:
        like, weight, bias = self.twins[0], self.each("weight"), self.each("bias")
        assert weight is not None
        maps = F.conv2d(
            self.beside(folded),
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            like.stride,
            like.padding,
            like.dilation,
            like.groups * len(self.twins),
        )
        return self.folded(maps)


class _BatchNorm(_Stacked):
    def forward(self, folded: Tensor) -> Tensor:
        like, weight, bias = self.twins[0], self.each("weight"), self.each("bias")
        statistics = dict(self.named_buffers())
        if statistics and self.training:
            statistics["num_batches_tracked"].add_(1)
        maps = F.batch_norm(
            self.beside(folded),
            statistics["running_mean"].view(-1) if statistics else None,
            statistics["running_var"].view(-1) if statistics else None,
            None if weight is None else weight.flatten(),
            None if bias is None else bias.flatten(),
            self.training or not statistics,
            like.momentum,
            like.eps,
        )
        return self.folded(maps)


STACKED: dict[type[nn.Module], type[_Stacked]] = {
    nn.Linear: _Linear,
    nn.Conv2d: _Conv2d,
    nn.BatchNorm1d: _BatchNorm,
    nn.BatchNorm2d: _BatchNorm,
}
