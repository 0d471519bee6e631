"""Averaging a criterion over batches."""

from collections.abc import Callable

import torch
from torch import Tensor

from autosparse.criteria.types import NO_BATCHES, Batches
from autosparse.errors import AutosparseError
from autosparse.masks import Scores


def mean_score(score_batch: Callable[[tuple[Tensor, Tensor]], Scores], batches: Batches) -> Scores:
    """Mean of ``score_batch`` over all batches, each counted once, summed in float64; the dtype is the score's own."""
    totals: dict[str, Tensor] = {}
    count, dtypes = 0, {}
    for batch in batches:
        for name, score in score_batch(batch).items():
            dtypes[name] = score.dtype
            totals[name] = totals.get(name, torch.zeros_like(score, dtype=torch.float64)) + score
        count += 1
    if count == 0:
        raise AutosparseError(f"{NO_BATCHES}: nothing to score on")
    return {name: (total / count).to(dtypes[name]) for name, total in totals.items()}
