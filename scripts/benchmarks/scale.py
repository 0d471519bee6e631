"""Overhead at scale: a plan of a million cells, finding what is finished, and how many cells a second MLflow takes."""

import contextlib
import io
import itertools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_mlflow import MlflowServer
from local_postgres import Postgres, why_no_postgres
from rich.console import Console

from autosparse.data import load_dataset
from autosparse.experiment.environment import describe_environment
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store
from autosparse.runner.driver.outcome import unfinished
from autosparse.runner.driver.settle import Context, settle
from autosparse.runner.jobs.cost import Costs, extent_of
from autosparse.runner.jobs.packing import pack
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.runner.work.cells import run_cell
from autosparse.tracking.client import connect
from autosparse.tracking.log import Tracker
from benchmarks import records
from benchmarks.harness import Comparison, Figure, Options, Result, seconds, side_by_side

CELLS = 1_000_000
WORKERS = 64


def measure(options: Options) -> Iterator[Result]:
    """A plan of a million cells, finding what is finished, and how many cells a second MLflow takes."""
    cells = CELLS // 100 if options.quick else CELLS
    with multiprocessing.get_context("spawn").Pool(1) as process:  # its own peak of memory
        planning = process.apply(planned, (cells,))
    took = sum(planning["seconds"][part] for part in ("plan", "look", "settle"))
    yield Figure(f"{cells:,} cells planned", took, "s", "below 120", took < 120, planning)
    yield Figure("the same: peak of memory", planning["GiB"], "GiB", "below 2", planning["GiB"] < 2)
    yield Figure("the same cells packed into jobs", planning["seconds"]["pack"], "s")
    yield from records.measure(options)
    count = 60 if options.quick else 1000
    with tempfile.TemporaryDirectory(prefix="autosparse-scale-") as scratch:
        folder = Path(scratch)
        plan, store = finished(count, folder / "results")
        repetitions = 1 if options.quick else 3
        yield logged("SQLite", plan, store, f"sqlite:///{folder / 'mlflow.db'}", repetitions)
        if reason := why_no_postgres():
            yield Figure("cells logged: a server with Postgres", 0, "cells/s", f"not measured: {reason}")
        else:
            here = contextlib.chdir(folder)  # where a database without a server has its artifacts
            with here, Postgres() as postgres, MlflowServer(folder / "mlflow", postgres.uri, 4) as server:
                found = rate(plan, store, server.uri, plan.name)
                yield Figure("cells logged: a server with Postgres", found, "cells/s", notes={"cells": count})
                yield logged("Postgres without a server", plan, store, postgres.uri, repetitions)


def planned(cells: int) -> dict[str, Any]:
    """Expand, look for what is done, decide what to do, and pack; seconds of each, and the peak before packing."""
    took, found = {}, {}

    def lap(name: str, work: Any) -> None:
        took[name] = seconds(lambda: found.update({name: work()}))

    lap("plan", lambda: records.large_plan(cells))
    with tempfile.TemporaryDirectory() as folder:
        store, settings = Store(folder), Settings()
        lap("look", lambda: unfinished(found["plan"].cells, store, known=False))
        screen = Screen(Console(file=io.StringIO()))
        tracker: Any = None  # there is nothing to tell it
        context = Context(found["plan"], store, tracker, settings, screen)
        lap("settle", lambda: settle(context, found["look"], set()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    costs = Costs({"digits": extent_of(load_dataset("digits"))})
    lap("pack", lambda: pack([p.task for p in found["look"]], WORKERS, costs))
    return {"seconds": took, "jobs": len(found["pack"]), "GiB": peak}


def finished(count: int, root: Path) -> tuple[Plan, Store]:
    """A grid of which every cell has a record: the same real result under each."""
    grid = {"models": ["lenet-300-100"], "datasets": ["digits"], "methods": ["random"], "sparsities": [0.9]}
    content = {"name": "logged", "grid": {**grid, "seeds": list(range(count)), "recipe": {"epochs": 10}}}
    plan, store = make_plan(parse_experiment(content, "logged")), Store(root)
    result = run_cell(plan.cells[0].task, store, load_dataset("digits"), "cpu")
    environment = describe_environment()
    for cell in plan.cells:
        store.finish(cell.task, result, environment)
    return plan, store


def logged(where: str, plan: Plan, store: Store, uri: str, repetitions: int) -> Comparison:
    """How fast the records of a plan are written to a database: all together, and run by run."""
    names = (f"{plan.name} {number}" for number in itertools.count())
    return side_by_side(
        f"cells logged: {where}",
        ("run by run, by MLflow's client", lambda: rate(plan, store, uri, next(names), together=False)),
        lambda: rate(plan, store, uri, next(names)),
        "cells/s",
        repetitions,
    )


def rate(plan: Plan, store: Store, uri: str, experiment: str, together: bool = True) -> float:
    """Cells a second that are written to a new experiment."""
    tracker = Tracker(connect(uri), experiment, store)
    tracker.database = tracker.database if together else None
    started = time.perf_counter()
    written = tracker.sync(plan)
    return written / (time.perf_counter() - started)
