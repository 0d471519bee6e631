"""How many weights the units of a layer have."""

import math

import torch
from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("fan_in")
def fan_in(state: State, name: str) -> Tensor:
    """log of the number of weights that one output of the layer sums, pruned ones included."""
    return torch.tensor(math.log(state.layouts[name].fan_in))


@feature("fan_out")
def fan_out(state: State, name: str) -> Tensor:
    """log of the number of weights that read one input of the layer, pruned ones included."""
    return torch.tensor(math.log(state.layouts[name].fan_out))
