"""Masks that change while a network trains: when, and by what rule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from autosparse.errors import AutosparseError
from autosparse.masks import Masks

Rule = Callable[[int, Masks, Mapping[str, Tensor], Mapping[str, Tensor]], Masks]
"""``(steps done, masks, weights, gradients) -> masks``, a pure function.

Weights and gradients are by the names of the masks; pruned weights are 0, their gradients are not: they are those of
the dense network's weights on the last batch, taken before its step.
"""


@dataclass(frozen=True)
class Change:
    """New masks after every ``every`` steps, up to a step."""

    rule: Rule
    every: int
    last: int
    """No step after this one changes the masks."""
    also_last: bool = False
    """Whether this one does, whatever ``every`` says."""

    def due(self, step: int) -> bool:
        """Whether the masks change after so many steps of the whole training."""
        return step <= self.last and (step % self.every == 0 or (self.also_last and step == self.last))


def step_at(criterion: str, steps: int, share: float, every: int, idle: bool = False) -> int:
    """The last step at which masks may change: ``share`` of all ``steps``.

    :param idle: whether that step itself changes nothing.
    :raises AutosparseError: if no multiple of ``every`` is among the steps that change something.
    """
    last = int(steps * share + 1e-9)
    if last - idle < every:
        raise AutosparseError(
            f"criterion {criterion!r} changes the masks every {every} steps, but only until step {last} of {steps}, so "
            "never: set `every` lower, or train longer"
        )
    return last
