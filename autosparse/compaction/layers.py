"""The parts of a compact network: layers of fewer channels, and modules that carry channels between them."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Carry(nn.Module):
    """Carry channels to where they are wanted: (batch, have, ...) -> (batch, want, ...).

    :param have: the numbers of the channels that come in, in their order.
    :param want: the numbers of those that go out, in their order; a channel that does not come in is 0.
    """

    def __init__(self, have: Sequence[int], want: Sequence[int]):
        super().__init__()
        position = {channel: index for index, channel in enumerate(have)}
        found = [index for index, channel in enumerate(want) if channel in position]
        taken = [position[want[index]] for index in found]
        self.width = len(want)
        to_take = None if taken == list(range(len(have))) else torch.tensor(taken, dtype=torch.long)
        to_place = None if len(found) == len(want) else torch.tensor(found, dtype=torch.long)
        self.register_buffer("taken", to_take, persistent=False)
        self.register_buffer("placed", to_place, persistent=False)

    taken: Tensor | None
    placed: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.taken is not None:
            x = x.index_select(1, self.taken)
        if self.placed is not None:
            layout = torch.channels_last if _lies_channels_last(x) else torch.contiguous_format
            shape = (x.shape[0], self.width, *x.shape[2:])
            filled = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout).zero_()
            x = filled.index_copy_(1, self.placed, x)
        return x


class Beside(nn.Module):
    """Put constant channels beside the others: (batch, live), (1, constant) -> (batch, live + constant)."""

    def forward(self, live: Tensor, constant: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([live, constant.expand(len(live), -1)], 1)


def _lies_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def resized(layer: nn.Module, tensors: Mapping[str, Tensor], groups: int = 1) -> nn.Module:
    """A copy of ``layer`` with these values for its parameters and buffers, and with the width that they have.

    :param tensors: new values by the names of parameters and buffers. A parameter that it does not name is left out; a
        buffer that it does not name is copied.
    :param groups: number of groups of the new layer, if it is a convolution.
    """
    bare = copy.copy(layer)
    bare._parameters, bare._buffers = {}, {}
    new = copy.deepcopy(bare)
    new._parameters = dict.fromkeys(layer._parameters)
    new._buffers = {name: None if value is None else value.clone() for name, value in layer._buffers.items()}
    for name, value in tensors.items():
        old = getattr(layer, name)
        if isinstance(old, nn.Parameter):
            new._parameters[name] = nn.Parameter(value.detach().clone(), old.requires_grad)
        else:
            new._buffers[name] = value.detach().clone()
    match new:
        case nn.Linear():
            new.out_features, new.in_features = new.weight.shape
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            new.groups, new.out_channels, new.in_channels = groups, len(new.weight), new.weight.shape[1] * groups
        case nn.modules.batchnorm._BatchNorm():
            new.num_features = next((len(value) for value in tensors.values()), new.num_features)
    return new
