"""How a weight lies between units: which of its entries read an input, and which an output sums."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from autosparse.weights import TRANSPOSED, prunable

Side = Literal["input", "output"]
"""The units that a weight reads, or those that it feeds."""

_WITH_WEIGHT = (nn.Linear, nn.modules.conv._ConvNd)


@dataclass(frozen=True)
class Layout:
    """A weight of shape (out, in / groups, *kernel) or, if transposed, (in, out / groups, *kernel)."""

    shape: torch.Size
    groups: int = 1
    transposed: bool = False

    def units(self, side: Side) -> int:
        """Number of units on a side: features or channels."""
        return self.shape[0] if self._on_rows(side) else self.shape[1] * self.groups

    def fan(self, side: Side) -> int:
        """Number of weights at one unit of a side: the fan-in of an output, the fan-out of an input."""
        return self.shape.numel() // self.units(side)

    def spread(self, values: Tensor, side: Side) -> Tensor:
        """Give each weight the value of its unit on a side: (units,) -> broadcastable to the weight."""
        if self._on_rows(side):
            return values.view(-1, *[1] * (len(self.shape) - 1))
        by_group = values.view(self.groups, self.shape[1])
        if self.groups > 1:
            by_group = by_group.repeat_interleave(self.shape[0] // self.groups, 0)
        return by_group.view(*by_group.shape, *[1] * (len(self.shape) - 2))

    def sums(self, values: Tensor, side: Side) -> Tensor:
        """Sum values of the weight's shape over the weights at each unit of a side: (units,)."""
        if self._on_rows(side):
            return values.flatten(1).sum(1)
        by_group = values.reshape(self.groups, self.shape[0] // self.groups, self.shape[1], -1)
        return by_group.sum((1, 3)).flatten()

    def _on_rows(self, side: Side) -> bool:
        """Whether the weight's first axis counts the units of a side; its second then counts the others, by group."""
        return (side == "input") == self.transposed


def layouts(model: nn.Module) -> dict[str, Layout]:
    """The layout of each prunable weight, by its name; the projections of attention are plain matrices."""
    owners = {id(module.weight): module for module in model.modules() if isinstance(module, _WITH_WEIGHT)}
    found = {}
    for name, weight in prunable(model).items():
        owner = owners.get(id(weight))
        found[name] = Layout(weight.shape, getattr(owner, "groups", 1), isinstance(owner, TRANSPOSED))
    return found
