"""SNIP saliency of the units that a weight connects, within its layer: sums of |theta g|."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State, log_relative


@feature("input_mass", needs=("data",))
def input_mass(state: State, name: str) -> Tensor:
    """log of the sum of |theta g| over the weights that read the same input, relative to the layer's mean."""
    layout = state.layouts[name]
    sums = layout.over_inputs(state.product[name].abs() * state.masks[name])
    return layout.of_inputs(log_relative(sums, sums.mean()))


@feature("output_mass", needs=("data",))
def output_mass(state: State, name: str) -> Tensor:
    """log of the sum of |theta g| over the weights that the same output sums, relative to the layer's mean."""
    layout = state.layouts[name]
    sums = layout.over_outputs(state.product[name].abs() * state.masks[name])
    return layout.of_outputs(log_relative(sums, sums.mean()))
