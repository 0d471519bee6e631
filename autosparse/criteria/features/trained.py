"""What a weight has become after a few steps of training, before it is set back."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("trained", needs=("data", "steps"))
def trained(state: State, name: str) -> Tensor:
    """log|theta_k|, the weight after the steps."""
    return state.log("trained", state.stepped.theta, name)


@feature("trained_grad", needs=("data", "steps"))
def trained_grad(state: State, name: str) -> Tensor:
    """log|g_k|, the gradient there."""
    return state.log("trained_grad", state.stepped.grad, name)


@feature("trained_product", needs=("data", "steps"))
def trained_product(state: State, name: str) -> Tensor:
    """log|theta_k g_k|, SNIP's saliency there."""
    return state.log("trained_product", state.trained_product, name)


@feature("rewound_product", needs=("data", "steps"))
def rewound_product(state: State, name: str) -> Tensor:
    """log|theta_0 g_k|: the weight as it was, with the gradient after the steps."""
    return state.log("rewound_product", state.rewound_product, name)


@feature("moved", needs=("data", "steps"))
def moved(state: State, name: str) -> Tensor:
    """log|theta_k - theta_0|."""
    return state.log("moved", state.movement, name)


@feature("grown", needs=("data", "steps"))
def grown(state: State, name: str) -> Tensor:
    """(theta_k - theta_0) sign(theta_0), signed: positive if the steps make the weight larger."""
    return state.signed_log("moved", state.movement, name) * state.theta[name].sign()
