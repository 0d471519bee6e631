"""Where in the network a layer is."""

import torch
from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("depth")
def depth(state: State, name: str) -> Tensor:
    """The number of the layer among those with weights, from 0 for the first to 1 for the last."""
    return torch.tensor(state.names.index(name) / max(1, len(state.names) - 1))
