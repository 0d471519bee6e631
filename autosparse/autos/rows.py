"""The rows that a scorer is fitted on, and stratified samples of them, in which rare rows have their share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autosparse.errors import AutosparseError
from autosparse.irp.survival import Survival

FEWEST = 1000
"""The fewest rows to fit on: fewer say too little of the few weights that survive."""


@dataclass(frozen=True)
class Rows:
    """One row per weight, or per weight and state of its network."""

    columns: list[Tensor]
    """One per input, of shape (n,)."""
    target: Tensor
    """(n,) float32, within [0, 1]: how long each weight survives."""
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
    """The paper's rows: each weight with theta_0, g_0 or both, and its survival score.

    A stratum is a layer and survival count.
    """
    features, target = survival.flat()
    layers = enumerate(survival.survived.values())
    strata = [count.flatten().long() + layer * (survival.iterations + 1) for layer, count in layers]
    return Rows([features[name] for name in inputs], target, torch.cat(strata))


def stratified_sample(stratum: Tensor, rows: int | None, draws: torch.Generator) -> Tensor:
    """Positions of ``rows`` of the n given, int64, ascending; of all if ``rows`` is None or at least n.

    :raises AutosparseError: if fewer than 1000 rows are asked for.
    """
    if rows is not None and rows < FEWEST:
        raise AutosparseError(f"a scorer is fitted on at least {FEWEST} rows, not {rows}; omit `rows` to use them all")
    if rows is None or rows >= len(stratum):
        return torch.arange(len(stratum))
    return systematic(stratum, rows, draws)


def systematic(stratum: Tensor, rows: int, draws: torch.Generator) -> Tensor:
    """Positions of ``rows`` of the n given, at most n; int64, ascending.

    The rows are shuffled and ordered by stratum, and every (n / rows)-th is taken from a random start. Each row has the
    same chance, so that a mean over the sample, such as a squared error, estimates that over all rows without weights.
    Of a stratum of m rows, ``m * rows / n`` are taken, rounded up or down; taking more of rare strata would shift
    E[survival | features].
    """
    total = len(stratum)
    shuffled = torch.randperm(total, generator=draws)
    ordered = shuffled[stratum[shuffled].argsort(stable=True)]
    start = torch.rand((), generator=draws, dtype=torch.float64)
    places = ((torch.arange(rows, dtype=torch.float64) + start) * (total / rows)).long()
    return ordered[places.clamp(max=total - 1)].sort().values
