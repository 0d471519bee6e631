"""What is at the units that a weight connects: the input that it reads, the output that it feeds, the flow between."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.layout import Side
from autosparse.criteria.features.state import State, log_relative


@feature("activation", needs=("data",), reads_units=True)
def activation(state: State, name: str) -> Tensor:
    """log of the standard deviation, over the data, of the input that the weight reads, relative to the layer's."""
    return _on_data(state, name, state.units.of("activation", name), "input")


@feature("output_gradient", needs=("data",), reads_units=True)
def output_gradient(state: State, name: str) -> Tensor:
    """log of the loss's gradient with respect to the output that the weight feeds, relative to the layer's."""
    return _on_data(state, name, state.units.of("gradient", name), "output")


@feature("input_left")
def input_left(state: State, name: str) -> Tensor:
    """log of the share of weights left, counted as at least one, among those that read the same input."""
    return _left(state, name, "input")


@feature("output_left")
def output_left(state: State, name: str) -> Tensor:
    """log of the share of weights left, counted as at least one, among those that the same output sums."""
    return _left(state, name, "output")


@feature("input_strength")
def input_strength(state: State, name: str) -> Tensor:
    """log of the sum of |theta| over the weights that read the same input, relative to the layer's mean."""
    return _summed(state, name, state.left[name].abs(), "input")


@feature("output_strength")
def output_strength(state: State, name: str) -> Tensor:
    """log of the sum of |theta| over the weights that the same output sums, relative to the layer's mean."""
    return _summed(state, name, state.left[name].abs(), "output")


@feature("input_mass", needs=("data",))
def input_mass(state: State, name: str) -> Tensor:
    """log of the sum of |theta g| over the weights that read the same input, relative to the layer's mean."""
    return _summed(state, name, state.product[name].abs() * state.masks[name], "input")


@feature("output_mass", needs=("data",))
def output_mass(state: State, name: str) -> Tensor:
    """log of the sum of |theta g| over the weights that the same output sums, relative to the layer's mean."""
    return _summed(state, name, state.product[name].abs() * state.masks[name], "output")


@feature("synflow", needs=("data",))
def synflow(state: State, name: str) -> Tensor:
    """log of the synaptic flow (Tanaka et al. 2020, eq. 2) through what is left; of the data it reads only a shape."""
    return state.log("synflow", state.flow, name)


def _on_data(state: State, name: str, values: Tensor, side: Side) -> Tensor:
    return state.layouts[name].spread(log_relative(values, values.square().mean().sqrt()), side)


def _left(state: State, name: str, side: Side) -> Tensor:
    layout = state.layouts[name]
    left = layout.sums(state.masks[name].float(), side).clamp(min=1)
    return layout.spread(left / layout.fan(side), side).log()


def _summed(state: State, name: str, values: Tensor, side: Side) -> Tensor:
    layout = state.layouts[name]
    sums = layout.sums(values, side)
    return layout.spread(log_relative(sums, sums.mean()), side)
