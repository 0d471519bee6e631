"""Where in the network a layer is, and how many weights its units have."""

import math

import torch
from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("depth")
def depth(state: State, name: str) -> Tensor:
    """The number of the layer among those with weights, from 0 for the first to 1 for the last."""
    return torch.tensor(state.names.index(name) / max(1, len(state.names) - 1))


@feature("fan_in")
def fan_in(state: State, name: str) -> Tensor:
    """log of the number of weights that one output of the layer sums, pruned ones included."""
    return torch.tensor(math.log(state.layouts[name].fan_in))


@feature("fan_out")
def fan_out(state: State, name: str) -> Tensor:
    """log of the number of weights that read one input of the layer, pruned ones included."""
    return torch.tensor(math.log(state.layouts[name].fan_out))
