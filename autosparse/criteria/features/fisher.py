"""How much the gradient varies from batch to batch."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("fisher", needs=("data",))
def fisher(state: State, name: str) -> Tensor:
    """log of the root mean square, over the batches, of the gradient on each batch by itself."""
    return state.log("fisher", state.batch_gradients, name)
