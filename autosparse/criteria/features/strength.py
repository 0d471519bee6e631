"""How strong the units are that a weight connects, within its layer: sums of |theta|."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import LEAST, State


@feature("input_strength")
def input_strength(state: State, name: str) -> Tensor:
    """log of the sum of |theta| over the weights that read the same input, relative to the layer's mean."""
    layout = state.layouts[name]
    return layout.of_inputs(_relative(layout.over_inputs(state.theta[name].abs())))


@feature("output_strength")
def output_strength(state: State, name: str) -> Tensor:
    """log of the sum of |theta| over the weights that the same output sums, relative to the layer's mean."""
    layout = state.layouts[name]
    return layout.of_outputs(_relative(layout.over_outputs(state.theta[name].abs())))


def _relative(sums: Tensor) -> Tensor:
    return (sums / sums.mean().clamp(min=1e-30) + LEAST).log()
