"""How much of the layer is left."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("layer_density")
def layer_density(state: State, name: str) -> Tensor:
    """log of the share of the layer that is left."""
    return state.masks[name].float().mean().log()
