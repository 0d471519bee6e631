"""How much of the network is left."""

import torch
from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("density")
def density(state: State, name: str) -> Tensor:
    """log of the share of all weights that is left."""
    return torch.tensor(state.masks.density).log()
