"""Ask MLflow about ten thousand finished cells: the project's queries against a data frame of all runs.

A hundred cells, or fifty in the quick form, are written as ``autosparse run`` writes them; the others are copies of
their rows with other seeds, ids and accuracies, because writing them through the client takes minutes. The store is
SQLite.
"""

import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
from mlflow import MlflowClient

from autosparse.data import load_dataset
from autosparse.experiment.environment import describe_environment
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store
from autosparse.results.best import best
from autosparse.results.cell_table import write_cell_table
from autosparse.results.runs import finished_runs
from autosparse.results.winners import winners
from autosparse.runner.driver.summary import summarise
from autosparse.runner.work.cells import run_cell
from autosparse.tracking.client import connect
from autosparse.tracking.known import FINISHED
from autosparse.tracking.log import Tracker
from autosparse.tracking.note import NOTED
from benchmarks.harness import Comparison, Figure, Options, Result, seconds, side_by_side

Row = dict[str, Any]

GRID: Row = {
    "models": ["lenet-300-100"],
    "datasets": ["digits"],
    "methods": ["random", "random-erk", "magnitude", "snip", "snip-mb", "grasp", "grasp-mb", "synflow", "force", "npb"],
    "sparsities": [0.5, 0.8, 0.9, 0.93, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995],
    "recipe": {"epochs": 10},
    "seeds": [0],
}
TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")
LARGE, SMALL = "large", "small"
"""Names of experiments."""
GOAL = 2.0
"""Seconds for a query."""


def measure(options: Options) -> list[Result]:
    """The best methods and winners of ten thousand cells in MLflow, beside a data frame of all runs; driver starts."""
    seeds, repetitions = (20, 1) if options.quick else (100, 3)
    grid = {**GRID, "sparsities": GRID["sparsities"][::2]} if options.quick else GRID
    with tempfile.TemporaryDirectory() as scratch:
        client = fill(Path(scratch), grid, seeds)
        asked = [*compared(client, repetitions), small(client, repetitions)]
        return [*asked, started(client, Store(Path(scratch) / "results"), repetitions)]


def fill(folder: Path, grid: Row, seeds: int) -> MlflowClient:
    """Fill a store with the grid's cells in the small experiment, and those cells for each seed in the large one."""
    database = folder / "mlflow.db"
    client, store = connect(f"sqlite:///{database}"), Store(folder / "results")
    store.prepare()
    for name in (LARGE, SMALL):
        plan = make_plan(parse_experiment({"name": name, "grid": [grid]}, "bench"))
        finish(plan, store)
        tracker = Tracker(client, name, store)
        tracker.sync(plan)
        if name == LARGE:
            multiply(database, seeds)
            tracker = Tracker(client, name, store)
        write_cell_table(tracker)
        tracker.parent.describe(summarise(plan, store), FINISHED)
    return client


def finish(plan: Plan, store: Store) -> None:
    """Write a record for each cell of the plan, from the result of one."""
    environment = describe_environment()
    result = run_cell(plan.cells[0].task, store, load_dataset("digits"), "cpu")
    *before, _ = result["history"]["test_accuracy"]
    for index, planned in enumerate(plan.cells):
        history = {**result["history"], "test_accuracy": [*before, 90 + index / 100]}
        store.finish(planned.task, {**result, "history": history}, environment)


def multiply(database: Path, seeds: int) -> None:
    """Copy the rows of all cells for the seeds 1, 2, ..."""
    draws = random.Random(0)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        rows = {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")] for table in TABLES}
        cells = [row["run_uuid"] for row in rows["tags"] if row["key"] == "kind" and row["value"] == "cell"]
        for seed in range(1, seeds):
            ids = {cell: uuid.UUID(int=draws.getrandbits(128)).hex for cell in cells}
            for table in TABLES:
                copies = [copied(row, ids, seed, draws) for row in rows[table] if row["run_uuid"] in ids]
                names, marks = ", ".join(copies[0]), ", ".join("?" * len(copies[0]))
                values = [tuple(copy.values()) for copy in copies]
                connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)


def copied(row: Row, ids: Mapping[str, str], seed: int, draws: random.Random) -> Row:
    """A row of the same cell with another seed, an hour earlier."""
    own = ids[row["run_uuid"]]
    copy = {**row, "run_uuid": own}
    if "end_time" in row:
        earlier = 3_600_000 * seed
        return {**copy, "start_time": row["start_time"] - earlier, "end_time": row["end_time"] - earlier}
    if row["key"] == "seed":
        copy["value"] = type(row["value"])(seed)
    elif row["key"] in ("task_id", "cell_id"):
        copy["value"] = own[:16]
    elif row["key"] == "test_accuracy":
        copy["value"] += draws.gauss(0, 0.2)
    return copy


def compared(client: MlflowClient, repetitions: int) -> list[Result]:
    """Measure queries a second, and compare the seconds that each takes with the goal."""
    mlflow.set_tracking_uri(client.tracking_uri)
    ways: dict[str, Callable[[str], Any]] = {
        "mlflow.search_runs": frame,
        "best methods": lambda experiment: best(client, experiment),
        "winners": lambda experiment: winners(client, experiment),
        "whole runs": lambda experiment: finished_runs(client, experiment, "cell"),
    }
    for way in ways.values():  # imports and connections are no part of a query
        way(SMALL)
    took: dict[str, list[Took]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            took[name].append(timed(lambda way=way: way(LARGE)))
    runs = len(finished_runs(client, LARGE, "cell"))
    baseline, *queries = ways
    results: list[Result] = []
    for name in queries:
        rates = [[1 / each.wall for each in took[side]] for side in (baseline, name)]
        results.append(Comparison(f"{name} of {runs:,} cells in MLflow", baseline, "queries/s", *rates))
        if name != "whole runs":
            results.append(figure("the same: time", took[name], took[baseline]))
    return results


class Took(NamedTuple):
    """Wall seconds, and CPU seconds of this process, which are the wall seconds of an idle machine."""

    wall: float
    core: float


def timed(work: Callable[[], Any]) -> Took:
    """Measure the time that ``work`` takes."""
    started = time.process_time()
    return Took(seconds(work), time.process_time() - started)


def figure(name: str, took: list[Took], baseline: list[Took] | None = None) -> Figure:
    """The median time, and whether it meets the goal."""
    median = statistics.median(each.wall for each in took)
    notes = {"seconds and CPU seconds of each": took, "of the baseline": baseline}
    return Figure(name, median, "s", f"below {GOAL:g}", median < GOAL, notes)


def frame(experiment: str) -> Any:
    """The usual way to the means: all runs as a data frame."""
    runs = mlflow.search_runs(experiment_names=[experiment])
    cells = runs[(runs["tags.kind"] == "cell") & (runs["status"] == FINISHED)]
    return cells.groupby(["tags.method", "tags.sparsity"])["metrics.test_accuracy"].agg(["mean", "std"])


def started(client: MlflowClient, store: Store, repetitions: int) -> Comparison:
    """How fast a driver learns what MLflow has: from the note of its parent run, beside all runs."""

    def starts() -> float:
        return 1 / seconds(lambda: Tracker(client, LARGE, store))

    def without_note() -> float:
        client.delete_tag(parent, NOTED)
        return starts()

    tracker = Tracker(client, LARGE, store)
    parent, count = tracker.parent.id, len(tracker.known)
    name = f"starts of a driver with {count:,} cells in MLflow (SQLite)"
    return side_by_side(name, ("all runs read", without_note), starts, "starts/s", repetitions)


def small(client: MlflowClient, repetitions: int) -> Figure:
    """The time of a query on a small experiment, with all the other runs in the store."""
    cells = len(finished_runs(client, SMALL, "cell"))
    took = [timed(lambda: best(client, SMALL)) for _ in range(repetitions)]
    return figure(f"best methods of {cells} cells in the same store", took)
