"""Fitting a scorer: regression of the survival score on the initial features."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosparse.autos.diagnostics import binned_mean_r_squared, r_squared, sampled_densities, warnings_of
from autosparse.autos.features import Standardisation, check_inputs
from autosparse.autos.networks import build_network
from autosparse.autos.scorer import Scorer
from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.irp.survival import Survival
from autosparse.seeds import generator
from autosparse.version import __version__

HELD_OUT = 0.1
"""Share of the rows that the fit never sees."""


def fit_scorer(
    survivals: Survival | Sequence[Survival],
    backbone: str = "mlp",
    inputs: Sequence[str] = ("param", "grad"),
    epochs: int = 10,
    batch_size: int = 1024,
    lr: float = 0.01,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, float], None] | None = None,
) -> Scorer:
    """Fit AutoS on one or more survival datasets: mean squared error, Adam (AutoSparse Appendix B.2, B.3).

    The learning rate falls to 0 along a cosine, which the paper does not say; without it the last steps' noise
    costs about a tenth of the explained variance. A tenth of the rows is held out. ``scorer.report`` holds
    ``train_r2`` (on as many train rows as are held out), ``held_out_r2``, ``binned_mean_r2`` (what a conditional mean
    reaches on the same rows), ``layer_density_at_95`` and ``warnings``.

    :param on_epoch: called with (epoch from 1, mean training loss).
    :raises NonFiniteLoss: where the fit diverges.
    """
    survivals = [survivals] if isinstance(survivals, Survival) else list(survivals)
    if not survivals:
        raise AutosparseError("no survival dataset to fit on")
    inputs = check_inputs(inputs)
    if epochs < 1 or batch_size < 1 or not 0 < lr < math.inf:
        raise AutosparseError(
            f"a fit needs epochs and batch size of at least 1 and a positive rate, got {epochs}, {batch_size}, {lr}"
        )
    flat = [survival.flat() for survival in survivals]
    columns = [torch.cat([features[name] for features, _ in flat]).to(device) for name in inputs]
    target = torch.cat([scores for _, scores in flat]).to(device)
    order = torch.randperm(len(target), generator=generator(seed, "held out")).to(device)
    count = max(1, round(len(target) * HELD_OUT))
    held_out, train = order[:count], order[count:]
    if len(train) < 2:
        raise AutosparseError(f"{len(target)} rows are too few to fit a scorer on")

    standardisation = Standardisation.of([column[train] for column in columns])
    network = build_network(backbone, len(inputs), seed).to(device)
    features = standardisation(columns)
    _optimise(network, features, target, train, epochs, batch_size, lr, seed, on_epoch)
    scorer = Scorer(backbone, inputs, standardisation, network.eval())
    scorer.report = _report(scorer, columns, target, train, held_out, survivals)
    scorer.provenance = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "seed": seed,
        "rows": len(target),
        "survival": [survival.provenance for survival in survivals],
        "survival_fingerprints": [survival.fingerprint for survival in survivals],
        "code_version": __version__,
    }
    return scorer


def _optimise(
    network: nn.Module,
    features: Tensor,
    target: Tensor,
    rows: Tensor,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    on_epoch: Callable[[int, float], None] | None,
) -> None:
    """Adam with cosine decay over shuffled batches cut on the device; the last, smaller batch is dropped."""
    batch_size = min(batch_size, len(rows))
    steps = len(rows) // batch_size
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)
    network.train()
    for epoch in range(1, epochs + 1):
        order = rows[torch.randperm(len(rows), generator=generator(seed, "fit", epoch)).to(rows.device)]
        total = torch.zeros((), device=rows.device)
        for batch in order[: steps * batch_size].split(batch_size):
            loss = F.mse_loss(network(features[batch]), target[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        mean = (total / steps).item()
        if not math.isfinite(mean):
            raise NonFiniteLoss(f"the scorer's loss became {mean} in epoch {epoch}: lower --lr (now {lr})")
        if on_epoch:
            on_epoch(epoch, mean)
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise NonFiniteLoss(f"the last steps of the fit left weights that are not finite: lower --lr (now {lr})")


def _report(
    scorer: Scorer, columns: list[Tensor], target: Tensor, train: Tensor, held_out: Tensor, survivals: list[Survival]
) -> dict[str, Any]:
    def predict(rows: Tensor) -> Tensor:
        return scorer.predict({name: column[rows] for name, column in zip(scorer.inputs, columns, strict=True)})

    def on_cpu(rows: Tensor) -> tuple[list[Tensor], Tensor]:
        return [column[rows].cpu() for column in columns], target[rows].cpu()

    sample = train[: len(held_out)]
    densities = sampled_densities(scorer, survivals[0])
    report: dict[str, Any] = {
        "train_r2": r_squared(predict(sample), target[sample]),
        "held_out_r2": r_squared(predict(held_out), target[held_out]),
        "binned_mean_r2": binned_mean_r_squared(on_cpu(train), on_cpu(held_out)),
        "layer_density_at_95": densities,
        "collapsed_layers": [name for name, density in densities.items() if density == 0],
    }
    return {**report, "warnings": warnings_of(report)}
