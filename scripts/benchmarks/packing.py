"""Hundreds of tiny cells: packed into jobs, beside one Ray Tune trial per cell.

The trials of the baseline write neither records nor MLflow, and so have less to do for each cell.
"""

import statistics
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from autosparse.data import load_dataset
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store
from autosparse.runner.driver.run import run_plan
from autosparse.runner.driver.session import ray_session
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from benchmarks.harness import Comparison, Figure, Options, Result

GRID = {
    "models": ["lenet-300-100"],
    "datasets": ["digits"],
    "methods": ["random", "magnitude", "snip", "grasp", "synflow", "iter-snip"],
    "sparsities": [0.8, 0.9, 0.95, 0.98],
    "recipe": {"epochs": 3},
}
"""24 cells a seed."""
SEEDS = 10


@dataclass(frozen=True)
class Ours:
    """One run of the whole grid."""

    wall: float
    work: float
    """Seconds of scoring and training in all cells."""
    workers: int
    cells: int

    @property
    def overhead(self) -> float:
        """Seconds per cell that are neither scoring nor training, which the workers share."""
        return (self.wall - self.work / self.workers) / self.cells


def measure(options: Options) -> list[Result]:
    """240 cells of digits, packed, with records and MLflow, beside one Tune trial per cell; Ray runs already."""
    repetitions, trials, seeds = (1, 4, 2) if options.quick else (3, 12, SEEDS)
    started = time.perf_counter()
    with ray_session(Settings()), tempfile.TemporaryDirectory() as scratch:
        start_up = time.perf_counter() - started
        theirs, ours = [], []
        for repetition in range(repetitions):
            folder = Path(scratch) / str(repetition)
            theirs.append(trials / one_trial_per_cell(plan_of(seeds=1), trials, folder / "tune"))
            ours.append(packed(plan_of(seeds), folder / "packed"))
    notes = {"seconds until Ray has started": start_up, "cells of the baseline": trials}
    overhead = statistics.median(run.overhead for run in ours)
    goal = ("", None) if options.quick else ("below 50", overhead < 0.05)  # few cells share a run's fixed time
    return [
        Comparison(
            f"{ours[0].cells} cells of LeNet-300-100/digits",
            "a Tune trial per cell",
            "cells/s",
            theirs,
            [run.cells / run.wall for run in ours],
            goal=None if options.quick else 20,
            notes=notes,
        ),
        Figure(
            "time per cell beside scoring and training",
            1000 * overhead,
            "ms",
            *goal,
            {"each": [run.overhead for run in ours], "with Ray's start": overhead + start_up / ours[0].cells},
        ),
    ]


def plan_of(seeds: int) -> Plan:
    """The grid, for some seeds."""
    return make_plan(parse_experiment({"name": "bench", "grid": [{**GRID, "seeds": list(range(seeds))}]}, "bench"))


def packed(plan: Plan, folder: Path) -> Ours:
    """The grid as ``autosparse run`` does it: jobs, records, MLflow."""
    import ray

    folder.mkdir(parents=True)
    settings = Settings(storage=folder / "results", tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    started = time.perf_counter()
    run_plan(plan, settings, Screen(Console(file=StringIO())))
    wall = time.perf_counter() - started
    store = Store(settings.storage)
    records = [store.record(planned.task) for planned in plan.cells]
    work = sum(record["result"]["seconds"] for record in records if record)
    return Ours(wall, work, int(ray.cluster_resources()["CPU"]), len(plan.cells))


def one_trial_per_cell(plan: Plan, cells: int, folder: Path) -> float:
    """Seconds for some cells of the grid, spread over its methods, each in a separate trial."""
    from ray import tune

    step = max(1, len(plan.cells) // cells)
    specs = [planned.task.spec for planned in plan.cells[::step][:cells]]

    def trial(config: dict[str, Any]) -> None:
        import torch

        from autosparse.experiment.tasks import Cell
        from autosparse.runner.work.cells import run_cell

        torch.set_num_threads(1)
        cell = Cell.model_validate(specs[config["cell"]], strict=False)
        result = run_cell(cell, Store(folder), load_dataset("digits"), "cpu")
        tune.report({"accuracy": result["test_accuracy"]})

    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={"cell": tune.grid_search(list(range(cells)))},
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    started = time.perf_counter()
    with redirect_stdout(StringIO()):
        tuner.fit()
    return time.perf_counter() - started
