"""The gradient at a weight, on the network as masked so far, and its products with the weight."""

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


@feature("product", needs=("data",))
def product(state: State, name: str) -> Tensor:
    """theta g, signed: negative if a step of descent makes the weight larger."""
    return state.signed_log("product", state.product, name)


@feature("log_product", needs=("data",))
def log_product(state: State, name: str) -> Tensor:
    """log|theta g|, the saliency of SNIP (Lee et al. 2019, eq. 6) on the network as masked so far."""
    return state.log("product", state.product, name)


@feature("hessian_gradient", needs=("data",))
def hessian_gradient(state: State, name: str) -> Tensor:
    """theta (H g), signed: the saliency of GraSP (Wang et al. 2020, eq. 8) at temperature 1."""
    return state.signed_log("hessian_gradient", state.scores("grasp"), name)
