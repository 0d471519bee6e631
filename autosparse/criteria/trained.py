"""What criteria that train networks share: each round trains, scores, prunes and rewinds."""

from collections.abc import Callable
from typing import Protocol

from torch import nn

from autosparse.criteria.rounds import geometric_sparsities, prune_in_rounds, rewinding
from autosparse.errors import AutosparseError
from autosparse.mask_change import Change
from autosparse.masks import Masks, Scores
from autosparse.mode import TRAIN, in_mode


class Training(Protocol):
    """What these criteria ask of ``training`` (:class:`autosparse.Trainer` is one)."""

    @property
    def steps(self) -> int:
        """Number of optimiser steps of a whole training."""

    @property
    def epochs(self) -> int:
        """Number of epochs of a whole training."""

    def __call__(
        self, model: nn.Module, masks: Masks | None, run: int | None = None, start: int = 0, stop: int | None = None
    ) -> None:
        """Train ``model`` in place from step ``start`` to ``stop``.

        Each ``run`` takes the data in its own order; None is the run of the pruned network's training.
        """

    def go_on(self, start: int) -> None:
        """Have the pruned network trained from this step on, not from the first."""

    def fine_tune(self, epochs: int) -> None:
        """Have the pruned network trained for ``epochs`` at the last learning rate."""

    def change_masks(self, change: Change) -> None:
        """Have the masks change while the pruned network is trained."""


def checked(training: Training) -> Training:
    """Return ``training``, set to start at its first step; raise if it is something else."""
    if not hasattr(training, "go_on"):
        raise AutosparseError(
            f"this criterion trains networks: pass training=autosparse.Trainer(dataset, recipe, seed), not {training!r}"
        )
    training.go_on(start=0)
    return training


def train_and_rewind(
    model: nn.Module,
    sparsity: float,
    training: Training,
    rounds: int,
    score_trained: Callable[[], Scores],
    start: int = 0,
) -> Scores:
    """Prune with rewinding: in each round train what is left, score it trained, prune, and set all weights back.

    Geometric schedule; a pruned weight does not come back. Each round begins with the state that ``model`` is in now,
    trains it from step ``start`` to the end, and sets it back. It is scored in the mode that it is in now.
    """
    checked(training)

    def score_round(i: int, masks: Masks) -> Scores:
        with rewinding(model):
            with in_mode(model, TRAIN):
                training(model, masks, run=i, start=start)
            return score_trained()

    return prune_in_rounds(model, geometric_sparsities(sparsity, rounds), score_round)
