"""Effective sparsity: weights that are kept but lie on no path from input to output count as pruned."""

import copy

import torch
from torch import nn

from autosparse.analysis.reach import NOISE, Reachability
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable


def effective_masks(model: nn.Module, masks: Masks, input_shape: tuple[int, ...]) -> Masks:
    """``masks`` without the weights that no path from an input to an output of the masked network runs through.

    Vysogorets and Kempe 2023 (arXiv:2107.02306). Paths lead through units, as in their computation with SynFlow: a
    convolution's weight is effective if one of its uses, at some position of the map, is on a path. A weight that
    meets only zero padding, like the rim of a 3x3 kernel on a 1x1 map, never acts, so that even a dense network may
    have ineffective weights. Paths also run through what is not pruned: shortcuts, poolings, weights that ``masks`` do
    not name. Biases do not count as inputs.

    Exact for networks of Linear, Conv, normalisation, pooling, attention, ReLU-like activations, sums, differences and
    concatenations, however deep. In attention a path through a query also takes the key's entry that it is multiplied
    with, and a value. A bare parameter that is added, such as an embedding of positions, counts as an input. An
    activation that is positive at 0 (a sigmoid, as in gates) passes signal on even if none reaches it. A mean that is
    taken off by hand, unlike that of a LayerNorm, is a path from every unit that it is of.

    :param input_shape: shape of one example.
    :raises AutosparseError: if the masks do not fit the model, or no path can be followed through its forward even if
        nothing is pruned. The model is left as it was.
    """
    effective = _effective(model, masks, input_shape)
    if masks.kept and not effective.kept and not _effective(model, Masks.dense(model), input_shape).kept:
        raise AutosparseError(
            f"no effective masks of {type(model).__name__}: no path can be followed through its forward, even if "
            "nothing is pruned"
        )
    return effective


def _effective(model: nn.Module, masks: Masks, input_shape: tuple[int, ...]) -> Masks:
    ones = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for name, parameter in ones.named_parameters():
            parameter.requires_grad_().fill_(0.0 if name.endswith("bias") else 1.0)
    Masks({**Masks.dense(ones), **masks}).apply_(ones)
    weights = prunable(ones)
    image = torch.ones(1, *input_shape, dtype=torch.float64, device=next(ones.parameters()).device)
    image = image.requires_grad_().clone()  # so that constants are told from it, and it may be changed in place
    with torch.enable_grad(), Reachability():
        reached = ones(image).sum()
    flow = torch.autograd.grad(reached, [weights[name] for name in masks], materialize_grads=True)
    paths = zip(masks.items(), flow, strict=True)
    return Masks({name: mask & (on_path > NOISE).to(mask.device) for (name, mask), on_path in paths})
