"""Learning from rows, in memory or streamed: the regression of a fit, with all its settings."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from autosparse.autos.backbones import build_backbone
from autosparse.autos.diagnostics import r_squared
from autosparse.autos.features import Standardisation
from autosparse.autos.regression import OnEpoch, State, Training
from autosparse.autos.rows import Rows, stratified_sample
from autosparse.autos.scorer import Scorer
from autosparse.autos.streamed.rows import RowStream
from autosparse.criteria.by_features import InRounds
from autosparse.errors import AutosparseError
from autosparse.seeds import generator

HELD_OUT = 0.1
"""Share of the rows that the fit never sees."""
ASKED_OF_COSTLY = 4096
"""Rows that a figure of the report is measured on if rows are costly: enough for two digits of an R^2."""


@dataclass(frozen=True)
class Epoch:
    """A fit after one of its epochs."""

    number: int
    """From 1."""
    loss: float
    """Mean over the epoch's steps."""
    scorer: Scorer
    """Trained up to here; without report and provenance."""
    held_out_r2: Callable[[], float]
    """Measures it when called."""
    state: Callable[[], State]
    """For ``resume`` of :func:`fit_scorer`."""


AfterEpoch = Callable[[Epoch], None]


@dataclass(frozen=True)
class Split:
    """Rows on the device of the fit, and what each of them is used for."""

    columns: list[Tensor]
    target: Tensor
    train: Tensor
    """(n,) int64: all that are not held out, shuffled."""
    used: Tensor
    """Those of ``train`` that the scorer is fitted on."""
    asked: Tensor
    """Those held out that figures of the report are measured on."""

    def r_squared(self, scorer: Scorer, rows: Tensor) -> float:
        """The share of the target's variance at ``rows`` that the scorer explains."""
        features = {name: column[rows] for name, column in zip(scorer.inputs, self.columns, strict=True)}
        return r_squared(scorer.predict(features), self.target[rows])

    def on_cpu(self, rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """The columns and the target at ``rows``."""
        return [column[rows].cpu() for column in self.columns], self.target[rows].cpu()


@dataclass(frozen=True)
class Learn:
    """A regression with all its settings; calling it with rows fits a scorer on them."""

    backbone: str
    inputs: tuple[str, ...]
    training: Training
    how: InRounds | None
    rows: int | None
    seed: int
    device: torch.device | str
    provenance: dict[str, Any]

    def __call__(
        self, data: Rows, on_epoch: AfterEpoch | None = None, resume: State | None = None
    ) -> tuple[Scorer, Split]:
        """Fit on rows in memory; return the scorer, without a report, and what it was fitted on."""
        network = build_backbone(self.backbone, len(self.inputs), self.seed).to(self.device)
        split = self._split(data, ASKED_OF_COSTLY if network.costly else None)
        used = [column[split.used] for column in split.columns]
        standardisation = Standardisation.of(used)
        scorer = Scorer(self.backbone, self.inputs, standardisation, network, self.how)
        told = _told(scorer, lambda: split.r_squared(scorer, split.asked), on_epoch)
        network.fit(standardisation(used), split.target[split.used], self.training, self.seed, told, resume)
        self._finish(scorer, {"rows": len(data)})
        return scorer, split

    def streamed(self, rows: RowStream, on_epoch: AfterEpoch | None = None, resume: State | None = None) -> Scorer:
        """Fit on rows on disk; return the scorer, with those figures of its report that rows give."""
        network = build_backbone(self.backbone, len(self.inputs), self.seed).to(self.device)
        scorer = Scorer(self.backbone, self.inputs, rows.moments.standardisation, network, self.how)
        share = min(HELD_OUT, ASKED_OF_COSTLY / rows.rows) if network.costly else HELD_OUT
        held_out, train = (0.0, share), (HELD_OUT, HELD_OUT + share)
        told = _told(scorer, lambda: rows.r_squared(scorer.predict, [held_out])[0], on_epoch)
        used = network.fit_streamed(rows, self.training, self.seed, told, resume)
        self._finish(scorer, {"rows": rows.rows, "streamed": True})
        on_held_out, on_train = rows.r_squared(scorer.predict, [held_out, train])
        scorer.report = {"rows_used": used, "train_r2": on_train, "held_out_r2": on_held_out}
        return scorer

    def _finish(self, scorer: Scorer, about: dict[str, Any]) -> None:
        scorer.network.eval()
        settings = asdict(self.training) if scorer.network.by_gradient else {}
        scorer.provenance = {**settings, **about, **self.provenance}

    def _split(self, data: Rows, most_asked: int | None) -> Split:
        columns, target = [column.to(self.device) for column in data.columns], data.target.to(self.device)
        if not all(column.isfinite().all() for column in columns):
            raise AutosparseError("the survival data hold values that are not finite; make them again")
        order = torch.randperm(len(target), generator=generator(self.seed, "held out")).to(self.device)
        count = max(1, round(len(target) * HELD_OUT))
        held_out, train = order[:count], order[count:]
        if len(train) < 2:
            raise AutosparseError(f"{len(target)} rows are too few to fit a scorer on")
        picked = stratified_sample(data.stratum[train.cpu()], self.rows, generator(self.seed, "rows"))
        return Split(columns, target, train, train[picked.to(self.device)], held_out[:most_asked])


def _told(scorer: Scorer, held_out_r2: Callable[[], float], on_epoch: AfterEpoch | None) -> OnEpoch | None:
    """``on_epoch`` as a training calls it."""
    if on_epoch is None:
        return None
    return lambda number, loss, state: on_epoch(Epoch(number, loss, scorer, held_out_r2, state))
