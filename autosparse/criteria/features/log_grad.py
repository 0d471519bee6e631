"""The size of the gradient."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("log_grad", needs=("data",))
def log_grad(state: State, name: str) -> Tensor:
    """log|g|, relative to the root mean square over the network."""
    return state.log("grad", state.grad, name)
