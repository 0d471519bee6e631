"""What the units of a network do on data: how far their activations spread, and what gradients come back to them."""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.criteria.gradients import mean_gradient
from autosparse.criteria.types import Batches, Loss
from autosparse.errors import AutosparseError
from autosparse.weights import prunable


@dataclass(frozen=True)
class Units:
    """One entry per unit, float32, by the name of the weight that reads or feeds it.

    Weights that belong to no layer called by itself, such as the projections of attention, are missing.
    """

    activation: dict[str, Tensor]
    """Standard deviation of each input over examples and positions, (inputs,)."""
    gradient: dict[str, Tensor]
    """Root of the mean, over examples, of the squared derivatives of the example's own loss with respect to each
    output, summed over positions, (outputs,)."""

    def of(self, what: str, name: str) -> Tensor:
        """``activation`` or ``gradient`` at a weight; raises if it has none."""
        found: dict[str, Tensor] = getattr(self, what)
        if name not in found:
            raise AutosparseError(
                f"{name!r} belongs to no layer that is called by itself, so its units are not seen: leave out the "
                "features activation and output_gradient for this network"
            )
        return found[name]


def units_of(model: nn.Module, batches: Batches, loss: Loss) -> tuple[Units, dict[str, Tensor]]:
    """The units, and the weights' :func:`~autosparse.criteria.gradients.mean_gradient`, both of one pass.

    The batches run forward and backward once, in the mode that the model is in; it is left as it was. ``loss`` must be
    a mean over the batch. Memory: four numbers of each unit in float64, and what one batch takes.
    """
    names = {id(weight): name for name, weight in prunable(model).items()}
    sums: dict[str, _Sums] = {}
    examples = 0

    def counted() -> Batches:
        nonlocal examples
        for x, y in batches:
            examples += len(x)
            yield x, y

    with contextlib.ExitStack() as hooks:
        for module in model.modules():
            if (name := names.get(id(getattr(module, "weight", None)))) is not None:
                shared = sums.setdefault(name, _Sums())  # by all layers that share the weight
                hooks.enter_context(module.register_forward_hook(shared.add))
        gradient = mean_gradient(model, counted(), loss)
    seen = {name: units for name, units in sums.items() if units.read}
    units = Units(
        {name: units.spread().float() for name, units in seen.items()},
        {name: (units.returned / examples).sqrt().float() for name, units in seen.items()},
    )
    return units, gradient


@dataclass
class _Sums:
    """What the layers that share a weight read, and what comes back to their outputs."""

    read: int = 0
    """Number of values of each unit so far, over examples and positions."""
    first: Tensor | None = None
    """The first value of each unit; what is summed is less that, so that a unit that never changes has a spread of 0,
    and one whose mean is far from 0 loses no digits."""
    total: Any = 0.0
    square: Any = 0.0
    returned: Any = 0.0
    """It stays 0 if the loss does not depend on the outputs."""

    def spread(self) -> Tensor:
        """The standard deviation of what was read."""
        return (self.square / self.read - (self.total / self.read) ** 2).clamp(min=0).sqrt()

    def add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Add what ``module`` reads now, and later what comes back: a forward hook."""
        values = _by_unit(module, inputs[0].detach())
        if self.first is None:
            self.first = values[:1, :, :1].clone()
            self.returned = values.new_zeros(_by_unit(module, output.detach()).shape[1], dtype=torch.float64)
        values = values - self.first
        self.read += values.shape[0] * values.shape[2]
        self.total = self.total + values.sum(2).double().sum(0)
        self.square = self.square + torch.linalg.vector_norm(values, dim=2).double().square().sum(0)
        output.register_hook(lambda g: self._add_returned(_by_unit(module, g), len(inputs[0])))

    def _add_returned(self, derivatives: Tensor, examples: int) -> None:
        largest = torch.linalg.vector_norm(derivatives, torch.inf).clamp(min=torch.finfo(derivatives.dtype).tiny)
        norms = torch.linalg.vector_norm(derivatives / largest, dim=2).double() * largest * examples
        self.returned = self.returned + norms.square().sum(0)  # of the example's loss, not the mean


def _by_unit(module: nn.Module, values: Tensor) -> Tensor:
    """(examples, units, positions): units are the channels of a convolution, and the last axis of a linear layer.

    Sums over positions are in the values' precision, which is fast; those over examples are in float64.
    """
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if not isinstance(module, nn.Linear):
        return values.flatten(2)
    return values.view(-1, values.shape[-1], 1) if values.dim() < 3 else values.flatten(1, -2).movedim(-1, 1)
