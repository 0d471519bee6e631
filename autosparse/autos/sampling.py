"""Fitting on some of the rows: a stratified sample, so that what is rare has its share even in a small one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autosparse.errors import AutosparseError
from autosparse.irp.survival import Survival

FEWEST = 1000
"""Rows; a smaller sample says too little of the few weights that survive."""


def strata(survivals: Sequence[Survival]) -> Tensor:
    """The stratum of each row of the joined :meth:`Survival.flat`, int64 (n,): its layer and survival count."""
    found, first = [], 0
    for survival in survivals:
        for count in survival.survived.values():
            found.append(count.flatten().long() + first)
            first += survival.iterations + 1
    return torch.cat(found)


def stratified_sample(stratum: Tensor, rows: int | None, draws: torch.Generator) -> Tensor:
    """Positions of ``rows`` of the n given, int64, ascending; of all where None or at least n.

    Systematic: the rows, shuffled and ordered by stratum, are walked through in n / rows steps from a random start.
    Each has the same chance to be taken, so that a mean over the sample, such as a squared error, estimates that over
    all rows without weights; and of a stratum of m rows, ``m * rows / n`` are taken, rounded up or down. More of rare
    strata than that would shift E[survival | features].

    :raises AutosparseError: if fewer than 1000 rows are asked for.
    """
    if rows is not None and rows < FEWEST:
        raise AutosparseError(f"a scorer is fitted on at least {FEWEST} rows, not {rows}; leave rows out for all")
    total = len(stratum)
    if rows is None or rows >= total:
        return torch.arange(total)
    shuffled = torch.randperm(total, generator=draws)
    ordered = shuffled[stratum[shuffled].argsort(stable=True)]
    start = torch.rand((), generator=draws, dtype=torch.float64)
    places = ((torch.arange(rows, dtype=torch.float64) + start) * (total / rows)).long()
    return ordered[places.clamp(max=total - 1)].sort().values
