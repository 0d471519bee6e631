"""How many weights are left at the units that a weight connects, within its layer."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State


@feature("input_left")
def input_left(state: State, name: str) -> Tensor:
    """log of the share of weights left among those that read the same input."""
    layout = state.layouts[name]
    return layout.of_inputs(layout.over_inputs(state.masks[name].float()) / layout.fan_out).log()


@feature("output_left")
def output_left(state: State, name: str) -> Tensor:
    """log of the share of weights left among those that the same output sums."""
    layout = state.layouts[name]
    return layout.of_outputs(layout.over_outputs(state.masks[name].float()) / layout.fan_in).log()
