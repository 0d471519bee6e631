"""How a few steps of training move a weight."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("moved", needs=("data", "steps"))
def moved(state: State, name: str) -> Tensor:
    """log|theta_k - theta_0|."""
    return state.log("moved", state.movement, name)


@feature("grown", needs=("data", "steps"))
def grown(state: State, name: str) -> Tensor:
    """(theta_k - theta_0) sign(theta_0), signed: positive if the steps make the weight larger."""
    return state.signed_log("moved", state.movement, name) * state.theta[name].sign()
