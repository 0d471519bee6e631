"""Whole runs with compact training beside the same without: an IRP run, and a grid of every criterion.

Both are whole: scoring, evaluation and the making of compact networks are included, and of the grid also the start of
Ray and what is never compact, such as dense cells. The notes tell how far the outcomes differ.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

import autosparse as asp
from autosparse.data.split import Dataset
from autosparse.experiment.load import load_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store
from autosparse.training import Execution
from benchmarks.harness import Comparison, Options, Result, one_thread, seconds, side_by_side
from benchmarks.images import first, mnist
from benchmarks.training import RECIPE

OFF, AUTO = "off", "auto"
GRID = Path(__file__).parents[2] / "experiments" / "pai-mnist.yaml"


def measure(options: Options) -> Iterator[Result]:
    """An IRP run and a grid, with compact training beside the same without."""
    data = mnist(options.data_root)
    with one_thread():
        yield pruned_in_rounds(first(data, 6_400) if options.quick else data, 1 if options.quick else 3)
    if not options.quick and options.data_root:
        yield grid(GRID, options.data_root, seeds=1)


def pruned_in_rounds(data: Dataset, repetitions: int, iterations: int = 20) -> Comparison:
    """Iterations a minute of an IRP run of LeNet-300-100 down to 1 % of its weights, an epoch each."""
    recipe = replace(RECIPE, epochs=1)
    survived: dict[str, torch.Tensor] = {}

    def rate(compact: str) -> float:
        model = asp.build_model("lenet-300-100", data.num_classes, data.input_shape)

        def work() -> None:
            found = asp.rewind_prune(
                model, data, "snip", iterations, recipe=recipe, execution=Execution(compact=compact)
            )
            survived[compact] = torch.cat([counts.flatten() for counts in found.survived.values()])

        return 60 * iterations / seconds(work)

    name = f"IRP of LeNet-300-100/{data.name}, {iterations} iterations to 1 %"
    result = side_by_side(
        name, ("dense, with masks", lambda: rate(OFF)), lambda: rate(AUTO), "iterations/min", repetitions, goal=1.6
    )
    both = torch.stack([survived[OFF], survived[AUTO]]).double()
    return replace(result, notes={"correlation of the survival scores": torch.corrcoef(both)[0, 1].item()})


def grid(file: Path, data_root: str, seeds: int) -> Comparison:
    """Tasks a minute of the experiment in ``file``, of so many of its seeds."""
    accuracies: dict[str, torch.Tensor] = {}
    plan = make_plan(load_experiment(file, set=[setting(seeds)]).experiment)
    tasks = len(list(plan))

    def rate(compact: str) -> float:
        with tempfile.TemporaryDirectory(prefix="autosparse-compact-") as scratch:
            minutes = seconds(lambda: run(file, Path(scratch), data_root, seeds, compact)) / 60
            accuracies[compact] = accuracies_of(plan, Store(Path(scratch) / "results"))
        return tasks / minutes

    name = f"{plan.name}, {tasks} tasks, all start-up included"
    result = side_by_side(name, ("dense, with masks", lambda: rate(OFF)), lambda: rate(AUTO), "tasks/min", 1, goal=1.7)
    apart = accuracies[AUTO] - accuracies[OFF]
    return replace(
        result,
        notes={"accuracy apart, mean": apart.mean().item(), "accuracy apart, median": apart.abs().median().item()},
    )


def setting(seeds: int) -> str:
    """What limits the grid to its first seeds."""
    return f"grid.*.seeds={list(range(seeds))}"


def run(file: Path, folder: Path, data_root: str, seeds: int, compact: str) -> None:
    """Run the grid as a user does."""
    command = [sys.executable, "-m", "autosparse", "run", str(file), "--set", setting(seeds), "--compact", compact]
    command += ["--storage", str(folder / "results"), "--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [*command, "--data-root", data_root, "--json"], env=environment, capture_output=True, text=True
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr)


def accuracies_of(plan: Plan, store: Store) -> torch.Tensor:
    """Test accuracies in percent of all cells, in the order of the plan."""
    records = [store.record(planned.task) for planned in plan.cells]
    return torch.tensor([record["result"]["test_accuracy"] for record in records if record], dtype=torch.float64)
