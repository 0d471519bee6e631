"""What an optimiser remembers of each parameter, such as momenta, by the parameters' names."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from autosparse.errors import AutosparseError


def taken(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the host, named after what they are and after the parameter: ``exp_avg/fc1.weight``."""
    return {
        f"{what}/{name}": on_host(value)
        for name, parameter in parameters.items()
        for what, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def put_back(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Let a fresh optimiser remember what :func:`taken` returned.

    :raises AutosparseError: if that belongs to other parameters.
    """
    for key, value in tensors.items():
        what, _, name = key.partition("/")
        parameter = parameters.get(name)
        if parameter is None or value.shape not in (parameter.shape, ()):
            raise AutosparseError(f"the optimiser's {what} is of another network: {name!r}, {tuple(value.shape)}")
        put(optimizer, parameter, what, value)


def put(optimizer: torch.optim.Optimizer, parameter: Tensor, what: str, value: Tensor) -> None:
    """Let the optimiser remember ``value`` of a parameter, in its layout in memory, which fused kernels rely on."""
    if value.shape == parameter.shape:
        kept = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    else:
        kept = value.to(parameter.device, copy=True)  # a count of steps, beside the parameter as `fused` wants it
    optimizer.state[parameter][what] = kept


def on_host(value: Tensor) -> Tensor:
    """A contiguous copy on the host, which nothing changes later."""
    return value.detach().to("cpu", copy=True).contiguous()
