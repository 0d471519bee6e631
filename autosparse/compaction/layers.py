"""What a compact network is made of: layers of fewer channels, and the steps that carry channels between them."""

import copy
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Carry(nn.Module):
    """(batch, have, ...) -> (batch, want, ...): channels by their names, and zeros for those that are not there."""

    def __init__(self, have: Sequence[int], want: Sequence[int]):
        super().__init__()
        position = {channel: index for index, channel in enumerate(have)}
        found = [index for index, channel in enumerate(want) if channel in position]
        taken = [position[want[index]] for index in found]
        self.width = len(want)
        self.register_buffer(
            "taken", None if taken == list(range(len(have))) else torch.tensor(taken, dtype=torch.long), False
        )
        self.register_buffer(
            "placed", None if len(found) == len(want) else torch.tensor(found, dtype=torch.long), False
        )

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
    """(batch, live) and (1, constant) -> (batch, live + constant)."""

    def forward(self, live: Tensor, constant: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([live, constant.expand(len(live), -1)], 1)


class SplitLinear(nn.Linear):
    """A Linear layer some of whose inputs and outputs are the same for every example, and are computed once.

    Its weight is that of a Linear layer whose last columns read the constants, and whose last rows read nothing else.

    :param layer: with the parameters of both.
    :param live: numbers of rows and of columns that differ from example to example.
    """

    def __init__(self, layer: nn.Linear, live: tuple[int, int]):
        nn.Module.__init__(self)
        self.out_features, self.in_features = layer.weight.shape
        self.weight, self.bias = layer.weight, layer.bias
        self.live = live

    @property
    def multiplied(self) -> int:
        """How many of the weights are multiplied for each example."""
        return self.live[0] * self.live[1]

    def folded(self, constant: Tensor | None) -> tuple[nn.Linear, Tensor]:
        """For these constants: the Linear layer of what differs from example to example, and the constant rows."""
        rows, columns = self.live
        still = self._still(constant)
        plain = nn.Linear(1, 1, device="meta")
        plain.weight, plain.bias = nn.Parameter(self.weight[:rows, :columns].clone()), nn.Parameter(still[0, :rows])
        plain.out_features, plain.in_features = rows, columns
        return plain, still[:, rows:].clone()

    def _still(self, constant: Tensor | None) -> Tensor:
        if constant is None:
            return self.bias.unsqueeze(0)
        return F.linear(constant, self.weight[:, self.live[1] :], self.bias)

    def forward(self, x: Tensor, constant: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(batch, live columns), (1, constant columns) -> (batch, live rows), (1, constant rows)."""
        rows, columns = self.live
        still = self._still(constant)
        return F.linear(x, self.weight[:rows, :columns], still[0, :rows]), still[:, rows:].clone()


def _lies_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def resized(layer: nn.Module, tensors: Mapping[str, Tensor], groups: int = 1) -> nn.Module:
    """``layer`` with these values for its parameters and buffers of the same names, and with the width they have."""
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
