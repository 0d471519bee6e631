"""theta, as it is."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("param")
def param(state: State, name: str) -> Tensor:
    """theta, the weight at initialisation."""
    return state.theta[name]
