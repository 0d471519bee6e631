"""The mask of one layer for Node-Path Balancing: which weights the program's counts become."""

import torch
from torch import Tensor

from autosparse.criteria.npb_program import Inputs, weights_per_node


def layer_mask(paths: Tensor, groups: int, budget: int, alpha: float, beta: float, draws: torch.Generator) -> Tensor:
    """Keep exactly ``budget`` weights of a layer: an optimum of its node-path program, drawn among equals.

    :param paths: float64 of the weight's shape, (out, in / groups, *kernel): how many paths from the network's input
        arrive through each weight; the outputs of one group are alike.
    :param groups: of the convolution; 1 for Linear layers.
    :param draws: decides among equals: nodes of the same path count, outputs with the same number of weights, and
        places in a kernel. Weights that no path reaches are kept, at random, only once all others are.
    :return: bool of the weight's shape, on the CPU.
    """
    outputs = paths.shape[0] // groups
    through = paths.reshape(groups, outputs, paths.shape[1], -1)[:, 0]
    room = (through > 0).sum(-1)
    relative = through.sum(-1) / room.clamp(min=1)
    relative = (relative / relative.max()).round(decimals=9).clamp(min=1e-9)  # ignore rounding of sums
    nodes = room.flatten().nonzero().squeeze(1)
    nodes = nodes[torch.randperm(len(nodes), generator=draws)]
    inputs = Inputs(
        paths=relative.flatten()[nodes].numpy(),
        room=room.flatten()[nodes].numpy(),
        group=(nodes // paths.shape[1]).numpy(),
        outputs=outputs,
        nodes=groups * (outputs + paths.shape[1]),
    )
    mask = torch.zeros(groups, outputs, *through.shape[1:], dtype=torch.bool)
    load = torch.zeros(groups, outputs, dtype=torch.float64)
    alive = min(budget, int(room.sum()) * outputs)
    if alive:
        counts = weights_per_node(inputs, alive, alpha, beta)
        for node, count in zip(nodes.tolist(), counts.tolist(), strict=True):
            group, channel = divmod(node, paths.shape[1])
            if count:
                _place(mask[group, :, channel], load[group], through[group, channel], count, draws)
    mask = mask.reshape(paths.shape)
    return mask | random_mask(~mask, budget - alive, draws)


def random_mask(among: Tensor, count: int, draws: torch.Generator) -> Tensor:
    """``count`` of the positions where ``among`` is True, drawn at random; bool of its shape."""
    candidates = among.flatten().nonzero().squeeze(1)
    mask = torch.zeros(among.numel(), dtype=torch.bool)
    mask[candidates[torch.randperm(len(candidates), generator=draws)[:count]]] = True
    return mask.view(among.shape)


def _place(kernels: Tensor, load: Tensor, through: Tensor, count: int, draws: torch.Generator) -> None:
    """Spread ``count`` weights of one input over its ``kernels``, bool (outputs, size), and add them to ``load``.

    The outputs with the fewest weights so far come first, so that none sleeps while another has two. Within a kernel
    places are drawn in proportion to the paths ``through`` them, without replacement: the exponential race.
    """
    used = min(count, len(load))
    chosen = (load + torch.rand(len(load), generator=draws)).argsort()[:used]
    each = count // used + (torch.arange(used) < count % used).long()
    arrival = torch.empty(used, len(through), dtype=torch.float64).exponential_(generator=draws) / through
    kernels[chosen] = arrival.argsort(-1).argsort(-1) < each[:, None]
    load[chosen] += each
