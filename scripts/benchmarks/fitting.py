"""Fitting a scorer: rows per second beside a data loader, and a fit on a stratified sample beside one on all rows.

The rows are synthetic, as many as LeNet-300-100 has weights or, in the long run, a million: features of heavy tails,
and noisy survival counts, most of them small. On a CPU both sides compute on one thread.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from autosparse.autos import fit_scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.autos.regression import Training
from autosparse.irp import Survival
from benchmarks.harness import Comparison, Options, Result, one_thread, seconds, side_by_side

ITERATIONS = 20


def measure(options: Options) -> Iterator[Result]:
    """Scorer training on tensors beside a data loader, and on 80,000 rows beside all."""
    rows, sample = (266_200, 80_000) if options.quick else (1_000_000, 80_000)
    repetitions = 1 if options.quick else 5
    with one_thread():
        data = survival(rows)
        yield epochs(data, options.device, repetitions)
        yield samples(data, sample, options.device, repetitions)


def survival(rows: int) -> Survival:
    """One layer of ``rows`` weights, most of which survive few iterations."""
    draws = torch.Generator().manual_seed(0)
    param, grad = (torch.randn(rows, generator=draws) * torch.randn(rows, generator=draws).exp() for _ in range(2))
    luck = torch.randn(rows, generator=draws)
    score = torch.sigmoid((param * grad).abs().sqrt() + 1.5 * luck - 3)
    return Survival({"w": param}, {"w": grad}, {"w": (score * ITERATIONS).int()}, {"iterations": ITERATIONS})


def epochs(data: Survival, device: torch.device, repetitions: int) -> Comparison:
    """Rows per second of one epoch of the MLP, batches of 1024."""
    features, target = data.flat()
    columns = list(features.values())
    inputs = Standardisation.of(columns)(columns)
    on_device = inputs.to(device), target.to(device)
    network, usual = (build_backbone("mlp", 2, 0).to(device) for _ in range(2))
    usual_epoch = data_loader_epoch(usual, inputs, target, device)

    def rate(epoch: Callable[[], object]) -> float:
        return len(target) / seconds(epoch, device)

    return side_by_side(
        f"fit of the mlp scorer on {len(target):,} rows, an epoch",
        ("data loader, all cores", lambda: rate(usual_epoch)),
        lambda: rate(lambda: network.fit(*on_device, Training(epochs=1), seed=0)),
        "rows/s",
        repetitions,
    )


def data_loader_epoch(
    network: torch.nn.Module, inputs: Tensor, target: Tensor, device: torch.device
) -> Callable[[], None]:
    """The usual loop: single rows, collated by the workers of a loader."""
    batches = DataLoader(
        TensorDataset(inputs, target),
        batch_size=1024,
        shuffle=True,
        drop_last=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=Training.lr)

    def epoch() -> None:
        network.train()
        for x, y in batches:
            loss = F.mse_loss(network(x.to(device, non_blocking=True)), y.to(device, non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def samples(data: Survival, rows: int, device: torch.device, repetitions: int) -> Comparison:
    """Fits per second, evaluation and report included, and what each fit explains of the same held-out rows."""
    explained: dict[str, float] = {}

    def rate(name: str, rows: int | None) -> float:
        def fit() -> None:
            explained[name] = fit_scorer(data, rows=rows, device=device).report["held_out_r2"]

        return 1 / seconds(fit, device)

    compared = side_by_side(
        f"whole fit of the mlp scorer on {rows:,} of {data.rows:,} rows",
        ("on all rows", lambda: rate("all", None)),
        lambda: rate("sample", rows),
        "fits/s",
        repetitions,
    )
    return replace(compared, notes={"held-out R2": explained})
