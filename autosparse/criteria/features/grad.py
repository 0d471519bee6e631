"""g, as it is."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("grad", needs=("data",))
def grad(state: State, name: str) -> Tensor:
    """g, the gradient of the mean loss over the data, on the network as masked so far."""
    return state.grad[name]
