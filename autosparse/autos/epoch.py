"""A fit after one of its epochs."""

from collections.abc import Callable
from dataclasses import dataclass

from autosparse.autos.regression import State
from autosparse.autos.scorer import Scorer


@dataclass(frozen=True)
class Epoch:
    """A fit after one of its epochs."""

    number: int
    """From 1."""
    loss: float
    """Mean over the epoch's steps."""
    scorer: Scorer
    """Trained up to here; without report and provenance."""
    held_out_r2: Callable[[], float]
    """Measures it when called."""
    state: Callable[[], State]
    """For ``resume`` of :func:`fit_scorer`."""
