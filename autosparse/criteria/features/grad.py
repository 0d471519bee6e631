"""g, as it is, its size, and how much it varies from batch to batch."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("grad", needs=("data",))
def grad(state: State, name: str) -> Tensor:
    """g, the gradient of the mean loss over the data, on the network as masked so far."""
    return state.grad[name]


@feature("log_grad", needs=("data",))
def log_grad(state: State, name: str) -> Tensor:
    """log|g|, relative to the root mean square over the network."""
    return state.log("grad", state.grad, name)


@feature("fisher", needs=("data",))
def fisher(state: State, name: str) -> Tensor:
    """log of the root mean square, over the batches, of the gradient on each batch by itself."""
    return state.log("fisher", state.batch_gradients, name)
