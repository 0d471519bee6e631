"""The weight itself."""

from torch import Tensor

from autosparse.criteria.features import feature
from autosparse.criteria.features.state import LEAST, State


@feature("param")
def param(state: State, name: str) -> Tensor:
    """theta, the weight at initialisation."""
    return state.theta[name]


@feature("log_param")
def log_param(state: State, name: str) -> Tensor:
    """log(|theta| sqrt(fan-in)): of the same size in all networks initialised by fan-in, whatever their widths."""
    return (state.theta[name].abs() * state.layouts[name].fan("output") ** 0.5 + LEAST).log()
