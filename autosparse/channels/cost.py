"""The cost of a channel, in multiply-accumulates."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autosparse.channels.mapping import Group


@torch.no_grad()
def channel_costs(model: nn.Module, groups: Sequence[Group], example: Tensor) -> list[float]:
    """Multiply-accumulates per example that one channel of each group takes, in all layers that compute or read it.

    :param groups: the groups of ``model``, see :func:`autosparse.channels.channel_groups`.
    :param example: a batch of one input, (1, *shape); only its shape matters.
    :return: a cost for each group.
    """
    macs: dict[str, float] = {}
    probe = copy.deepcopy(model).eval()
    for layer in {layer for group in groups for layer in (*group.rows, *group.columns)}:

        def count(module: nn.Module, _: object, output: Tensor, layer: str = layer) -> None:
            macs[layer] = output.numel() * module.get_parameter("weight")[0].numel()

        probe.get_submodule(layer).register_forward_hook(count)
    probe(example)
    return [sum(macs[layer] for layer in (*group.rows, *group.columns)) / group.size for group in groups]
