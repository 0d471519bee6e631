"""The size of the product, as in SNIP."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("log_product", needs=("data",))
def log_product(state: State, name: str) -> Tensor:
    """log|theta g|, the saliency of SNIP (Lee et al. 2019, eq. 6) on the network as masked so far."""
    return state.log("product", state.product, name)
