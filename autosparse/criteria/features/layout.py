"""How a weight lies between units: which of its entries read an input, and which an output sums."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autosparse.weights import TRANSPOSED, prunable

_WITH_WEIGHT = (nn.Linear, nn.modules.conv._ConvNd)


@dataclass(frozen=True)
class Layout:
    """A weight of shape (out, in / groups, *kernel) or, if transposed, (in, out / groups, *kernel)."""

    shape: torch.Size
    groups: int = 1
    transposed: bool = False

    @property
    def inputs(self) -> int:
        """Number of input units: features or channels."""
        return self.shape[0] if self.transposed else self.shape[1] * self.groups

    @property
    def outputs(self) -> int:
        """Number of output units."""
        return self.shape[1] * self.groups if self.transposed else self.shape[0]

    @property
    def fan_in(self) -> int:
        """Weights that one output sums."""
        return self.shape.numel() // self.outputs

    @property
    def fan_out(self) -> int:
        """Weights that read one input."""
        return self.shape.numel() // self.inputs

    def of_inputs(self, values: Tensor) -> Tensor:
        """Give each weight the value of the input that it reads: (inputs,) -> broadcastable to the weight."""
        return self._on_rows(values) if self.transposed else self._on_columns(values)

    def of_outputs(self, values: Tensor) -> Tensor:
        """Give each weight the value of the output that sums it: (outputs,) -> broadcastable to the weight."""
        return self._on_columns(values) if self.transposed else self._on_rows(values)

    def over_inputs(self, values: Tensor) -> Tensor:
        """Sum values of the weight's shape over the weights that read each input: (inputs,)."""
        return self._sum_rows(values) if self.transposed else self._sum_columns(values)

    def over_outputs(self, values: Tensor) -> Tensor:
        """Sum values of the weight's shape over the weights that each output sums: (outputs,)."""
        return self._sum_columns(values) if self.transposed else self._sum_rows(values)

    def _on_rows(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (len(self.shape) - 1))

    def _on_columns(self, values: Tensor) -> Tensor:
        by_group = values.view(self.groups, self.shape[1])
        if self.groups > 1:
            by_group = by_group.repeat_interleave(self.shape[0] // self.groups, 0)
        return by_group.view(*by_group.shape, *[1] * (len(self.shape) - 2))

    def _sum_rows(self, values: Tensor) -> Tensor:
        return values.flatten(1).sum(1)

    def _sum_columns(self, values: Tensor) -> Tensor:
        by_group = values.reshape(self.groups, self.shape[0] // self.groups, self.shape[1], -1)
        return by_group.sum((1, 3)).flatten()


def layouts(model: nn.Module) -> dict[str, Layout]:
    """The layout of each prunable weight, by its name; the projections of attention are plain matrices."""
    owners = {id(module.weight): module for module in model.modules() if isinstance(module, _WITH_WEIGHT)}
    found = {}
    for name, weight in prunable(model).items():
        owner = owners.get(id(weight))
        found[name] = Layout(weight.shape, getattr(owner, "groups", 1), isinstance(owner, TRANSPOSED))
    return found
