"""What a scorer reads of a weight, and how it is standardised."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autosparse.errors import AutosparseError, UnknownName

INPUTS = ("param", "grad")
"""theta_0 and g_0, by their column names in the survival dataset."""


def check_inputs(inputs: Sequence[str]) -> tuple[str, ...]:
    """The inputs as a tuple; raises where one is unknown, repeated, or none is given."""
    for name in inputs:
        if name not in INPUTS:
            raise UnknownName("scorer input", name, INPUTS)
    if not inputs or len(set(inputs)) != len(inputs):
        raise AutosparseError(
            f"scorer inputs must be one or both of {', '.join(INPUTS)}, each once; got {list(inputs)}"
        )
    return tuple(inputs)


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
