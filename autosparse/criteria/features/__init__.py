"""Features of weights by name. A new one is one new file here whose function carries ``@feature``."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from autosparse.criteria.features.state import State
from autosparse.errors import AutosparseError
from autosparse.registry import Registry, first_line

Compute = Callable[[State, str], Tensor]
"""``(state, name of a weight) -> values`` that broadcast to the weight's shape: one per weight, unit or layer."""


@dataclass(frozen=True)
class Feature:
    """A feature with what its users must know."""

    name: str
    compute: Compute
    needs: frozenset[str]
    """What it needs beyond the masked network: ``data``, and ``steps`` of training on them."""
    reads_units: bool = False
    """Whether it reads :attr:`State.units`. Gradients are then taken in the same pass over the data."""

    @property
    def summary(self) -> str:
        """One line on what it is."""
        return first_line(self.compute)


def _not_imported(state: State, name: str) -> Tensor:
    raise AutosparseError("the feature's plugin is not imported here; run the experiment without --dry-run")


FEATURES: Registry[Feature] = Registry("feature", __name__, lambda name: Feature(name, _not_imported, frozenset()))
"""By names that are valid in Python, so that a formula can hold them."""


def feature(name: str, *, needs: Iterable[str] = (), reads_units: bool = False) -> Callable[[Compute], Compute]:
    """Decorator: make a feature known under the name that users type.

    :param needs, reads_units: see :class:`Feature`.
    """

    def decorate(compute: Compute) -> Compute:
        FEATURES.register(name, Feature(name, compute, frozenset(needs), reads_units), compute)
        return compute

    return decorate
