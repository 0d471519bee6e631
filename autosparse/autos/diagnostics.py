"""Whether a scorer has learned: its R^2 beside that of a binned conditional mean, and layers that collapse."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from autosparse.autos.lattice import cell_of
from autosparse.autos.rebuild import dataset_of_survival, rebuilt, scoring_batches_of
from autosparse.criteria import prune
from autosparse.criteria.autos import PredictsSurvival
from autosparse.data.split import Dataset
from autosparse.irp.survival import Survival

COLLAPSE_SPARSITY = 0.95
ROWS_PER_BIN, MOST_BINS = 100, 50
"""About how many rows each bin of a conditional mean has, and the most bins of a feature."""


def r_squared(predicted: Tensor, target: Tensor) -> float:
    """Share of the target's variance explained, 1 - SSE / SST; 0 if the target is constant."""
    target, predicted = target.double(), predicted.double()
    spread = ((target - target.mean()) ** 2).sum()
    return float(1 - ((predicted - target) ** 2).sum() / spread) if spread > 0 else 0.0


def binned_mean_r_squared(train: tuple[list[Tensor], Tensor], held_out: tuple[list[Tensor], Tensor]) -> float:
    """Held-out R^2 of E[survival | features] estimated as the mean of the train rows in each bin.

    Bins are quantiles of each feature on the train rows, as many as leave about ROWS_PER_BIN rows in each and at most
    MOST_BINS per feature; an empty bin predicts the overall mean. A fit by squared error should come near this R^2;
    :func:`report_of` compares the two.

    :param train, held_out: (columns of shape (n,), target of shape (n,)).
    """
    columns, target = train
    bins = int(max(2, min(MOST_BINS, (len(target) / ROWS_PER_BIN) ** (1 / len(columns)))))
    share = torch.arange(1, bins, dtype=torch.float64) / bins
    edges = [column.sort().values[(share * len(column)).long()] for column in columns]
    index, size = cell_of(columns, edges), bins ** len(columns)
    overall = target.double().mean()
    sums = torch.zeros(size, dtype=torch.float64).index_add_(0, index, target.double() - overall)
    counts = torch.bincount(index, minlength=size)
    means = overall + sums / counts.clamp(min=1)
    return r_squared(means[cell_of(held_out[0], edges)], held_out[1])


def sampled_densities(
    scorer: PredictsSurvival, survival: Survival, per_layer: int = 10_000, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Layer densities of the survival data's own network, pruned globally by the scorer to COLLAPSE_SPARSITY.

    Estimated on at most ``per_layer`` weights of each layer, which count by the layer's size: exact for small
    layers, and cheap with a costly scorer on a large network.

    :param device: where the scorer runs.
    """
    scores: dict[str, Tensor] = {}
    shares: list[Tensor] = []
    for name, rows in survival.sample(per_layer).items():
        asked = {"param": survival.param[name].flatten()[rows], "grad": survival.grad[name].flatten()[rows]}
        scores[name] = scorer.predict({feature: values.to(device) for feature, values in asked.items()}).cpu()
        shares.append(torch.full((len(rows),), survival.param[name].numel() / len(rows) / survival.rows))
    joined = torch.cat(list(scores.values()))
    order = joined.argsort(descending=True, stable=True)
    kept = torch.cat(shares)[order].double().cumsum(0) <= (1 - COLLAPSE_SPARSITY) * (1 + 1e-6)
    selected = torch.zeros_like(joined, dtype=torch.bool)
    selected[order[kept]] = True
    pieces = selected.split([len(score) for score in scores.values()])
    return {name: float(piece.double().mean()) for name, piece in zip(scores, pieces, strict=True)}


def densities_in_rounds(
    scorer: PredictsSurvival, survival: Survival, datasets: Mapping[str, Dataset], device: torch.device | str
) -> dict[str, float]:
    """Layer densities as of :func:`sampled_densities`, but of the rebuilt network, pruned in rounds by the scorer."""
    dataset = dataset_of_survival(survival, datasets).to(device)
    batches = scoring_batches_of(survival, dataset)
    network = rebuilt(survival, dataset, device)
    return prune(network, "autos", COLLAPSE_SPARSITY, batches, scorer=scorer).density_by_layer()


def report_of(figures: Mapping[str, Any], densities: Mapping[str, float], **more: Any) -> dict[str, Any]:
    """The report of a fit: ``figures``, the layers' ``densities``, those that collapse, ``more``, and ``warnings``.

    Warnings are reasons not to trust the fit, one line each.
    """
    collapsed = [name for name, density in densities.items() if density == 0]
    report = {**figures, "layer_density_at_95": densities, "collapsed_layers": collapsed, **more}
    held_out, binned = report["held_out_r2"], report.get("binned_mean_r2")  # not measured if it prunes in rounds
    warnings = []
    if not held_out > max(0.0, 0.5 * (binned or 0.0)):  # `not >`, so that NaN warns, too
        beside = "" if binned is None else f"; a binned conditional mean explains {binned:.1%}"
        warnings.append(f"the scorer has not learned: it explains {held_out:.1%} of the held-out variance{beside}")
    warnings += [f"its scores remove every weight of {name} at {COLLAPSE_SPARSITY:.0%} sparsity" for name in collapsed]
    return {**report, "warnings": warnings}
