"""How much SNIP saliency the units have that a weight connects, within its layer: sums of |theta g|."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import LEAST, State


@feature("input_mass", needs=("data",))
def input_mass(state: State, name: str) -> Tensor:
    """log of the sum of |theta g| over the weights that read the same input, relative to the layer's mean."""
    layout = state.layouts[name]
    return layout.of_inputs(_relative(layout.over_inputs(state.product[name].abs())))


@feature("output_mass", needs=("data",))
def output_mass(state: State, name: str) -> Tensor:
    """log of the sum of |theta g| over the weights that the same output sums, relative to the layer's mean."""
    layout = state.layouts[name]
    return layout.of_outputs(_relative(layout.over_outputs(state.product[name].abs())))


def _relative(sums: Tensor) -> Tensor:
    return (sums / sums.mean().clamp(min=1e-30) + LEAST).log()
