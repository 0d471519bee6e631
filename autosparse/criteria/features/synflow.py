"""How much can flow through the weight, as in SynFlow."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("synflow", needs=("data",))
def synflow(state: State, name: str) -> Tensor:
    """log of the synaptic flow (Tanaka et al. 2020, eq. 2) through what is left; of the data it reads only a shape."""
    return state.log("synflow", state.flow, name)
