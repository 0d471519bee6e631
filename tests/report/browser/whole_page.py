"""A report with every kind of figure and table, from made-up runs."""

import torch
from fake_runs import FakeRuns

from autosparse.masks import Masks
from autosparse.tracking.curves import pack

METHODS = ("snip", "grasp", "synflow", "force", "random", "magnitude", "autos")
SPARSITIES = (0.9, 0.98, 0.995)
LAYERS = ("conv1.weight", "conv2.weight", "fc1.weight")
SERVER = "http://mlflow.example/#/experiments/1/runs/"
SEEDS = 2


def accuracy_of(method: str, sparsity: float, seed: int) -> float:
    """What a cell reached: worse with sparsity, and different for each method and seed."""
    return 97 - 200 * (sparsity - 0.88) - 3 * METHODS.index(method) + 0.4 * seed


def fill(runs: FakeRuns) -> None:
    """Write the runs: a dense network, seven methods at three sparsities, an IRP run and a scorer."""
    for seed in range(SEEDS):
        runs.cell("dense", 0.0, seed, 98.0 + 0.2 * seed, measures=_measures(0.0, 1), tags=_curves(98.0))
        for place, method in enumerate(METHODS):
            for sparsity in SPARSITIES:
                accuracy = accuracy_of(method, sparsity, seed)
                densities = {layer: (1 - sparsity) * (1 + k) for k, layer in enumerate(LAYERS)}
                if method == "random" and sparsity == 0.995:
                    densities["conv2.weight"] = 0.0
                kept = Masks({"fc1.weight": torch.arange(16) % (place + 2) == seed})
                runs.cell(
                    method,
                    sparsity,
                    seed,
                    accuracy,
                    densities=densities,
                    measures=_measures(sparsity, place + 2),
                    masks=kept,
                    tags=_curves(accuracy),
                )
    irp = runs.irp("a", rows=300)
    runs.scorer("learned", irp=runs.client.get_run(irp).data.tags["irp_id"], rows=300)


def _measures(sparsity: float, times: int) -> dict[str, float]:
    size = {"total": 266200, "parameters": 266610, "kept": 266200 * (1 - sparsity), "flops_dense": 532400}
    cost = {"seconds_score": 0.5 * times, "seconds_train": 70.0, "seconds": 70 + 0.5 * times, "images": 18e4}
    effect = {"effective_sparsity": sparsity, "effective_kept": 10, "images_score": 1000.0 * times}
    return size | cost | effect | {"flops_pruned": 532400 * (1 - sparsity), "flops_share": 1 - sparsity}


def _curves(last: float) -> dict[str, str]:
    epochs = range(1, 11)
    losses = [2 / epoch for epoch in epochs]
    return {"curves": pack({"train_loss": losses, "test_accuracy": [last - 10 / epoch for epoch in epochs]})}
