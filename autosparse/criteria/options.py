"""What values the options of a criterion may take, read off its signature."""

from collections.abc import Mapping
from inspect import Parameter
from typing import Annotated, Any

from autosparse.allowed import AtLeastOne, Count, OneOf, Positive, Within, fits, wording
from autosparse.errors import AutosparseError
from autosparse.mode import MODES

__all__ = ["ROUNDS", "AtLeastOne", "Count", "Momentum", "OneOf", "Positive", "Sparsity", "Within", "check_values"]

Momentum = Annotated[float, Within(0, 1, open_high=True)]
Sparsity = Annotated[float, Within(0, 1, open_high=True)]
"""Share of the weights or channels to prune."""
Mode = Annotated[str, OneOf(MODES)]
"""``train``: BatchNorm normalises by the batch, dropout drops out. ``eval``: BatchNorm takes its running statistics,
which at initialisation are 0 and 1, so that it does nothing; dropout does nothing either."""
ROUNDS = ("rounds", "iterations", "steps")
"""Options that say how often a criterion goes over a batch, or trains."""


def check_values(criterion: str, options: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> None:
    """Raise if the value of an option is not of the type, or not in the range, that the signature gives."""
    for option, value in options.items():
        annotation = parameters[option].annotation
        if not fits(value, annotation):
            raise AutosparseError(f"option {option!r} of {criterion!r} must be {wording(annotation)}, got {value!r}")
