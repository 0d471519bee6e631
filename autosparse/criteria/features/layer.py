"""Where in the network the layer is, how wide it is, and how much is left."""

import math

import torch
from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("depth")
def depth(state: State, name: str) -> Tensor:
    """The number of the layer among those with weights, from 0 for the first to 1 for the last."""
    return torch.tensor(list(state.theta).index(name) / max(1, len(state.theta) - 1))


@feature("fan_in")
def fan_in(state: State, name: str) -> Tensor:
    """log of the number of weights that one output of the layer sums, pruned ones included."""
    return torch.tensor(math.log(state.layouts[name].fan("output")))


@feature("fan_out")
def fan_out(state: State, name: str) -> Tensor:
    """log of the number of weights that read one input of the layer, pruned ones included."""
    return torch.tensor(math.log(state.layouts[name].fan("input")))


@feature("density")
def density(state: State, name: str) -> Tensor:
    """log of the share of all weights that is left."""
    return torch.tensor(state.masks.density).log()


@feature("layer_density")
def layer_density(state: State, name: str) -> Tensor:
    """log of the share of the layer that is left, counted as at least one weight."""
    mask = state.masks[name]
    share = mask.float().mean()
    return share.masked_fill(share == 0, 1 / mask.numel()).log()
