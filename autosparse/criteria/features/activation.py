"""What the units that a weight connects do on data."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import State, log_relative


@feature("activation", needs=("data",), reads_units=True)
def activation(state: State, name: str) -> Tensor:
    """log of the standard deviation, over the data, of the input that the weight reads, relative to the layer's."""
    return state.layouts[name].of_inputs(_relative(state.units.of("activation", name)))


@feature("output_gradient", needs=("data",), reads_units=True)
def output_gradient(state: State, name: str) -> Tensor:
    """log of the loss's gradient by the output that the weight feeds, relative to the layer's."""
    return state.layouts[name].of_outputs(_relative(state.units.of("gradient", name)))


def _relative(values: Tensor) -> Tensor:
    return log_relative(values, values.square().mean().sqrt())
