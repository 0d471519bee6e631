"""Samples of what a scorer reads and predicts while it prunes."""

from typing import Any

import torch
from torch import Tensor

from autosparse.autos.scorer import Scorer
from autosparse.seeds import generator

PER_CALL = 2000
"""Rows kept of each call, which is one layer in one round."""


class Listening:
    """Wraps a scorer and keeps a sample of the rows that it scores; the criterion ``autos`` takes it as a scorer."""

    def __init__(self, scorer: Scorer):
        self.scorer, self.inputs = scorer, scorer.inputs
        self.in_rounds, self.gradient_mode = scorer.in_rounds, scorer.gradient_mode
        self.seen: list[dict[str, Tensor]] = []
        self.said: list[Tensor] = []

    def predict(self, features: dict[str, Tensor]) -> Tensor:
        """The scorer's predictions."""
        return self._kept(features, self.scorer.predict(features))

    def predict_all(self, features: dict[str, Tensor], *settings: Any) -> Tensor:
        """The scorer's predictions."""
        return self._kept(features, self.scorer.predict_all(features, *settings))

    def _kept(self, features: dict[str, Tensor], scores: Tensor) -> Tensor:
        draws = generator(len(self.said), "rows asked about")
        rows = torch.randperm(len(scores), generator=draws)[:PER_CALL].to(scores.device)
        self.seen.append({name: features[name][rows].cpu() for name in self.inputs})
        self.said.append(scores[rows].cpu())
        return scores

    @property
    def rows(self) -> tuple[dict[str, Tensor], Tensor]:
        """The inputs, (n,) each, and the predictions (n,)."""
        return {name: torch.cat([batch[name] for batch in self.seen]) for name in self.inputs}, torch.cat(self.said)


def mean_curves(columns: dict[str, Tensor], predicted: Tensor, bins: int = 25) -> dict[str, list[tuple[float, float]]]:
    """The mean of each input, and the mean prediction, in each of ``bins`` bins with equal numbers of rows."""
    curves = {}
    for name, column in columns.items():
        parts = column.argsort(stable=True).chunk(bins)
        curves[name] = [(float(column[part].double().mean()), float(predicted[part].double().mean())) for part in parts]
    return curves
