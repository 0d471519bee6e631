"""Ask about a million finished cells that are in the table of their experiment's parent run.

The cells of the table are made up from one that was written as ``autosparse run`` writes it. MLflow itself holds only
a few of them, because it takes hours to write a million. As in a real experiment, it is asked for those that are newer
than the table, and for those that were deleted. How long that takes in a database of a million runs is not measured
here, nor how long it takes to write the table.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from mlflow import MlflowClient
from mlflow.entities import RunTag

from autosparse.results.best import best
from autosparse.results.cell_file import write_cells
from autosparse.results.cell_table import ARTIFACT, COUNT, FINISHED_COUNT, LEFT_OUT
from autosparse.results.runs import Run, finished_runs
from autosparse.results.winners import winners
from autosparse.tracking.client import find_experiment
from autosparse.tracking.search import parent_run
from benchmarks.harness import Figure, Options, Result
from benchmarks.queries import LARGE, SMALL, fill, timed

GRID = {
    "models": ["lenet-300-100"],
    "datasets": ["digits"],
    "methods": ["random", "snip"],
    "sparsities": [0.9],
    "recipe": {"epochs": 1},
    "seeds": [0],
}
"""What MLflow itself holds."""
METHODS, MODELS, SPARSITIES, SEEDS, METRICS = 25, 4, 20, 500, 60
GOAL = 5.0
"""Seconds for the best methods."""


def measure(options: Options) -> list[Result]:
    """The best methods and the winners of a million cells in the table."""
    seeds, repetitions = (25, 1) if options.quick else (SEEDS, 3)
    with tempfile.TemporaryDirectory() as scratch:
        client = fill(Path(scratch), GRID, 1)
        count = fill_table(client, seeds)
        results: list[Result] = []
        for name, ask, goal in (("best methods", best, GOAL), ("winners", winners, None)):
            ask(client, SMALL)  # imports and connections are no part of a query
            took = [timed(lambda ask=ask: ask(client, LARGE)) for _ in range(repetitions)]
            median = statistics.median(each.wall for each in took)
            words, met = (f"below {goal:g}", median < goal) if goal else ("", None)
            notes = {"seconds and CPU seconds of each": took}
            results.append(Figure(f"{name} of {count:,} cells in the table", median, "s", words, met, notes))
        return results


def fill_table(client: MlflowClient, seeds: int) -> int:
    """Give the large experiment a table of made-up cells, which ended before its real ones; return how many."""
    experiment_id = find_experiment(client, LARGE)
    parent = parent_run(client, experiment_id).info.run_id
    table = made_up(finished_runs(client, LARGE, "cell")[0], METHODS, MODELS, SPARSITIES, seeds)
    with tempfile.TemporaryDirectory() as folder:
        write_cells(table, Path(folder) / ARTIFACT)
        client.log_artifact(parent, str(Path(folder) / ARTIFACT))
    client.log_batch(parent, tags=[RunTag(name, str(len(table))) for name in (COUNT, FINISHED_COUNT)])
    return len(table)


def made_up(real: Run, methods: int, models: int, sparsities: int, seeds: int) -> pa.Table:
    """A table of cells like ``real``, in an order in which they may have been done: seed by seed."""
    count, draws = methods * models * sparsities * seeds, np.random.default_rng(0)
    seed, method, model, sparsity = (
        axis.ravel() for axis in np.meshgrid(*map(np.arange, (seeds, methods, models, sparsities)), indexing="ij")
    )
    axes = {
        "seed": texts(seed, map(str, range(seeds))),
        "method": texts(method, (f"method-{i}" for i in range(methods))),
        "criterion": texts(method, (f"criterion-{i}" for i in range(methods))),
        "model": texts(model, (f"model-{i}" for i in range(models))),
        "sparsity": texts(sparsity, (str(round(0.8 + i / 100, 2)) for i in range(sparsities))),
    }
    axes |= {"label": axes["method"], "level": axes["sparsity"]}
    ids = {name: hexadecimal(draws, count, digits) for name, digits in (("task_id", 16), ("made_by", 16))}
    axes |= {**ids, "cell_id": ids["task_id"]}
    ended = real.end - 3_600_000 - 1000 * np.arange(count)[::-1]
    columns = {
        **{"run_id": hexadecimal(draws, count, 32), "name": ids["task_id"]},
        **{"start": pa.array(ended - 1000), "end": pa.array(ended)},
    }
    for kind, told in (("tag", real.tags), ("param", real.params)):
        there = {name: constant(text, count) for name, text in told.items() if name not in LEFT_OUT}
        there |= {name: axis for name, axis in axes.items() if name in told or (kind, name) == ("param", "criterion")}
        columns |= {f"{kind}.{name}": column for name, column in there.items()}
    measured = [*real.metrics, *(f"density/layer{i}" for i in range(METRICS - len(real.metrics)))]
    columns |= {f"metric.{name}": pa.array(draws.normal(90 - sparsity / 10, 1.0)) for name in measured}
    return pa.table(columns)


def texts(codes: np.ndarray, words: Any) -> Any:
    """A column of these words."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(words), pa.string()))


def constant(text: str, count: int) -> Any:
    """A column of one text."""
    return texts(np.zeros(count, np.int32), [text])


def hexadecimal(draws: np.random.Generator, count: int, digits: int) -> Any:
    """A column of random hexadecimal numbers."""
    text = draws.bytes(count * digits // 2).hex()
    return pa.array([text[i : i + digits] for i in range(0, len(text), digits)], pa.string())
