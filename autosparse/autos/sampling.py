"""Stratified samples of rows to fit on, so that rare rows have their share even in a small sample."""

import torch
from torch import Tensor

from autosparse.errors import AutosparseError
from autosparse.irp.survival import Survival

FEWEST = 1000
"""The fewest rows to fit on: fewer say too little of the few weights that survive."""


def strata(survival: Survival) -> Tensor:
    """The stratum of each row of :meth:`Survival.flat`, int64 (n,): its layer and survival count."""
    layers = enumerate(survival.survived.values())
    return torch.cat([count.flatten().long() + layer * (survival.iterations + 1) for layer, count in layers])


def stratified_sample(stratum: Tensor, rows: int | None, draws: torch.Generator) -> Tensor:
    """Positions of ``rows`` of the n given, int64, ascending; of all if ``rows`` is None or at least n.

    Systematic: the rows are shuffled and ordered by stratum, and every (n / rows)-th is taken from a random start.
    Each row has the same chance, so that a mean over the sample, such as a squared error, estimates that over all rows
    without weights. Of a stratum of m rows, ``m * rows / n`` are taken, rounded up or down; taking more of rare strata
    would shift E[survival | features].

    :raises AutosparseError: if fewer than 1000 rows are asked for.
    """
    if rows is not None and rows < FEWEST:
        raise AutosparseError(f"a scorer is fitted on at least {FEWEST} rows, not {rows}; leave rows out for all")
    total = len(stratum)
    if rows is None or rows >= total:
        return torch.arange(total)
    return systematic(stratum, rows, draws)


def systematic(stratum: Tensor, rows: int, draws: torch.Generator) -> Tensor:
    """Positions of ``rows`` of the n given, at most n, as :func:`stratified_sample` takes them."""
    total = len(stratum)
    shuffled = torch.randperm(total, generator=draws)
    ordered = shuffled[stratum[shuffled].argsort(stable=True)]
    start = torch.rand((), generator=draws, dtype=torch.float64)
    places = ((torch.arange(rows, dtype=torch.float64) + start) * (total / rows)).long()
    return ordered[places.clamp(max=total - 1)].sort().values
