"""The features that a scorer reads, and their standardisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autosparse.criteria.briefly import Steps
from autosparse.criteria.by_features import InRounds
from autosparse.criteria.features.find import find_feature
from autosparse.criteria.features.sets import SETS
from autosparse.errors import AutosparseError, UnknownName

INPUTS = ("param", "grad")
"""theta_0 and g_0, by their column names in the survival dataset."""


def check_inputs(inputs: Sequence[str]) -> tuple[str, ...]:
    """The inputs with ``context`` and ``prospect`` written out; raises if one is unknown or repeated, or none is given.

    Each is a feature, or a criterion whose scores serve as one.
    """
    names = tuple(name for given in inputs for name in SETS.get(given, (given,)))
    for name in names:
        if name not in INPUTS:
            try:
                find_feature(name)
            except UnknownName as error:
                raise UnknownName("scorer input", name, [*error.known, *SETS]) from None
    if not names or len(set(names)) != len(names):
        raise AutosparseError(
            "scorer inputs must be param, grad or both, or features from `autosparse list features`, each once; got "
            f"{list(names)}"
        )
    return names


ROUNDS, STEPS = 10, 10
"""Defaults of a scorer that prunes in rounds; it takes steps only if an input is measured after training."""


def rounds_for(
    inputs: Sequence[str],
    rounds: int | None = None,
    steps: int | None = None,
    examples: int | None = None,
    step_lr: float = Steps.lr,
    step_batch_size: int = Steps.batch_size,
) -> InRounds | None:
    """How a scorer prunes in rounds; None: in one shot, with the paper's inputs and none of the settings of rounds.

    :param inputs: without sets, as :func:`check_inputs` returns them.
    :raises AutosparseError: if steps are given but no input needs them, or are 0 although an input needs them.
    """
    if set(inputs) <= set(INPUTS) and rounds is None and steps is None and examples is None:
        return None
    trains = [name for name in inputs if "steps" in find_feature(name).needs]
    if trains and steps == 0:
        raise AutosparseError(f"input {trains[0]!r} is measured after training: give steps of 1 or more")
    if steps and not trains:
        raise AutosparseError(f"none of the inputs {', '.join(inputs)} is measured after training: leave steps out")
    count = (STEPS if trains else 0) if steps is None else steps
    brief = Steps(count, lr=step_lr, batch_size=step_batch_size)
    return InRounds(ROUNDS if rounds is None else rounds, brief, examples)


@dataclass(frozen=True)
class Standardisation:
    """Mean and standard deviation of each input over the rows that the scorer was fitted on."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, columns: Sequence[Tensor]) -> "Standardisation":
        """Statistics of columns of shape (n,), in float64; a constant column gets a deviation of 1."""
        doubles = [column.double() for column in columns]
        stds = [float(column.std(unbiased=False)) for column in doubles]
        return cls(tuple(float(column.mean()) for column in doubles), tuple(std or 1.0 for std in stds))

    def __call__(self, columns: Sequence[Tensor]) -> Tensor:
        """Columns of shape (n,) -> standardised features (n, inputs), float32."""
        scaled = [(c.float() - mean) / std for c, mean, std in zip(columns, self.mean, self.std, strict=True)]
        return torch.stack(scaled, dim=1)
