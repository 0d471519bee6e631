"""How the gradient's size depends on the weight, as in GraSP."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("hessian_gradient", needs=("data",))
def hessian_gradient(state: State, name: str) -> Tensor:
    """theta (H g), signed: the saliency of GraSP (Wang et al. 2020, eq. 8) at temperature 1."""
    return state.signed_log("hessian_gradient", state.scores("grasp"), name)
