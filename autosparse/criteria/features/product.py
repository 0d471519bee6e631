"""What the loss would do without the weight, signed."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("product", needs=("data",))
def product(state: State, name: str) -> Tensor:
    """theta g, signed: negative if a step of descent makes the weight larger."""
    return state.signed_log("product", state.product, name)
