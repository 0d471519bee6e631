"""Strength of the units that a weight connects, within its layer: sums of |theta|."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State, log_relative


@feature("input_strength")
def input_strength(state: State, name: str) -> Tensor:
    """log of the sum of |theta| over the weights that read the same input, relative to the layer's mean."""
    layout = state.layouts[name]
    sums = layout.over_inputs(state.left[name].abs())
    return layout.of_inputs(log_relative(sums, sums.mean()))


@feature("output_strength")
def output_strength(state: State, name: str) -> Tensor:
    """log of the sum of |theta| over the weights that the same output sums, relative to the layer's mean."""
    layout = state.layouts[name]
    sums = layout.over_outputs(state.left[name].abs())
    return layout.of_outputs(log_relative(sums, sums.mean()))
