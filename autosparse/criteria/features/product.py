"""What the loss would do without the weight, as in SNIP, and the gradient, as in GraSP."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


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
