"""What the units of a network do on data: how far their activations spread, and what gradients come back to them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.criteria.gradients import untouched_buffers
from autosparse.criteria.types import NO_BATCHES, Batches, Loss
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
    """Root of the mean, over examples, of the squared derivatives of the example's own loss by each output, summed over
    positions, (outputs,)."""

    def of(self, what: str, name: str) -> Tensor:
        """``activation`` or ``gradient`` at a weight; raises if it has none."""
        found: dict[str, Tensor] = getattr(self, what)
        if name not in found:
            raise AutosparseError(
                f"{name!r} belongs to no layer that is called by itself, so its units are not seen: leave out the "
                "features activation and output_gradient for this network"
            )
        return found[name]


def units_of(model: nn.Module, batches: Batches, loss: Loss) -> Units:
    """Run the batches forward and backward once, in the mode that the model is in; it is left as it was.

    ``loss`` must be a mean over the batch. Memory: three float64 numbers per unit, and what one batch takes.
    """
    weights = prunable(model)
    names = {id(weight): name for name, weight in weights.items()}
    sums: dict[str, _Sums] = {}
    examples = 0
    with untouched_buffers(model), contextlib.ExitStack() as stack:
        for module in model.modules():
            if (name := names.get(id(getattr(module, "weight", None)))) is not None:
                shared = sums.setdefault(name, _Sums())  # by all layers that share the weight
                stack.enter_context(_watched(module, shared))
        for x, y in batches:
            torch.autograd.grad(loss(model(x), y), list(weights.values()), materialize_grads=True)
            examples += len(x)
    if examples == 0:
        raise AutosparseError(f"{NO_BATCHES}: nothing to score on")
    seen = {name: units for name, units in sums.items() if units.read}
    return Units(
        {name: units.spread().float() for name, units in seen.items()},
        {name: (units.returned / examples).sqrt().float() for name, units in seen.items()},
    )


@dataclass
class _Sums:
    read: int = 0
    """Number of values of each unit so far, over examples and positions."""
    total: Any = 0.0
    square: Any = 0.0
    returned: Any = 0.0

    def spread(self) -> Tensor:
        """The standard deviation of what was read."""
        result: Tensor = (self.square / self.read - (self.total / self.read) ** 2).clamp(min=0).sqrt()
        return result


@contextlib.contextmanager
def _watched(module: nn.Module, sums: _Sums) -> Iterator[None]:
    """Add up what the module reads, and what comes back to its outputs, within the block."""

    def read(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values = _by_unit(module, inputs[0].detach()).double()
        sums.read += values.shape[1]
        sums.total, sums.square = sums.total + values.sum(1), sums.square + values.square().sum(1)
        output.register_hook(lambda g: returned(g, len(inputs[0])))

    def returned(gradient: Tensor, examples: int) -> None:
        derivatives = _by_unit(module, gradient).double() * examples  # the example's loss, not the mean
        sums.returned = sums.returned + derivatives.square().sum(1)

    handle = module.register_forward_hook(read)
    try:
        yield
    finally:
        handle.remove()


def _by_unit(module: nn.Module, values: Tensor) -> Tensor:
    """(units, everything else): units are the channels of a convolution, and the last axis of a linear layer."""
    axis = -1 if isinstance(module, nn.Linear) else 1
    return values.movedim(axis, 0).flatten(1) if values.dim() > 1 else values[:, None]
