"""The rows that a scorer is fitted on: features of weights, and how long each weight survives."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autosparse.autos.sampling import strata
from autosparse.irp.survival import Survival


@dataclass(frozen=True)
class Rows:
    """One row per weight, or per weight and state of its network."""

    columns: list[Tensor]
    """One per input, of shape (n,)."""
    target: Tensor
    """(n,) float32, within [0, 1]."""
    stratum: Tensor
    """(n,) int64: rows of one stratum are alike; a sample takes its share of each."""

    def __len__(self) -> int:
        return len(self.target)


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows, each part with strata of its own."""
    first, strata = 0, []
    for part in parts:
        strata.append(part.stratum + first)
        first += int(part.stratum.max()) + 1 if len(part) else 0
    columns = [torch.cat(pieces) for pieces in zip(*(part.columns for part in parts), strict=True)]
    return Rows(columns, torch.cat([part.target for part in parts]), torch.cat(strata))


def at_initialisation(survival: Survival, inputs: Sequence[str]) -> Rows:
    """The paper's rows: each weight with theta_0, g_0 or both, and its survival score."""
    features, target = survival.flat()
    return Rows([features[name] for name in inputs], target, strata(survival))
