"""The cost of a channel, in multiply-accumulates."""

import copy
import itertools
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
    macs: dict[nn.Module, int] = {}
    probe = copy.deepcopy(model).eval()

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        macs[layer] = output.numel() * layer.get_parameter("weight")[0].numel()

    layers = [[probe.get_submodule(name) for name in (*group.rows, *group.columns)] for group in groups]
    for layer in set(itertools.chain(*layers)):
        layer.register_forward_hook(count)
    probe(example)
    return [sum(macs[layer] for layer in own) / group.size for group, own in zip(groups, layers, strict=True)]
