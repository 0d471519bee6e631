"""What a driver of a thousand workers can take, part by part, in cells a second, without the workers.

It runs the driver's own code: what handles a report, the tally and its table, Ray Tune's loop with a thousand running
trials, records, and MLflow behind the spool. One process stands for the workers, see ``many_workers.py``.
"""

import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from rich.console import Console

from autosparse.data import load_dataset
from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, Task
from autosparse.runner import ray_private
from autosparse.runner.driver.run import _listener
from autosparse.runner.driver.session import ray_session
from autosparse.runner.jobs.arrays import to_arrays
from autosparse.runner.jobs.cost import ALIKE
from autosparse.runner.jobs.given import Means
from autosparse.runner.jobs.hang import Hangs
from autosparse.runner.jobs.packing import pack
from autosparse.runner.jobs.signs import Signs
from autosparse.runner.jobs.stage import _Events, run_stage
from autosparse.runner.jobs.tune_quiet import Halt
from autosparse.runner.screen.console import Screen
from autosparse.runner.screen.stage_table import stage_table
from autosparse.runner.screen.tally import Event, Tally
from autosparse.runner.settings import Settings
from autosparse.tracking.client import connect
from autosparse.tracking.log import Tracker
from autosparse.tracking.spool import Spool
from benchmarks.harness import Figure, Options, Result, seconds
from benchmarks.many_workers import TOLD, standing_for_workers
from benchmarks.records import large_plan, template

WORKERS = 1000
FEW = 200
"""Workers of the quick form."""
CELL = 1.0
"""Seconds that a cell takes in the simulated workers: less than Tune's loop keeps up with."""
LONG = 30.0
"""The same for a stage in which nearly every report tells of progress within a cell."""


def measure(options: Options) -> Iterator[Result]:
    """What a driver of a thousand workers can take: reports, Ray Tune's loop, records, MLflow."""
    reports, records, logged = (10_000, 500, 100) if options.quick else (100_000, 5_000, 1_000)
    plan = large_plan(max(reports // 10, WORKERS))
    yield redrawn(plan)
    with tempfile.TemporaryDirectory(prefix="autosparse-driver-") as scratch:
        folder = Path(scratch)
        yield from recorded(plan.cells[:records], Store(folder / "records"))
        yield in_mlflow(plan, plan.cells[:logged], Store(folder / "records"), folder)
        with ray_session(Settings(workers=1)):
            yield handled(plan, reports)
            yield asked()
            if options.quick:
                yield looped(large_plan(3 * FEW), Store(folder / "few"), CELL, FEW)
                return
            yield looped(large_plan(4 * WORKERS), Store(folder / "short"), CELL)
            yield looped(large_plan(2 * WORKERS), Store(folder / "long"), LONG)
            yield looped(large_plan(2 * WORKERS), Store(folder / "often"), LONG, told=1)


def rate(name: str, count: int, took: float, unit: str = "cells/s", **notes: Any) -> Figure:
    """A rate, with the shortest cell of a thousand workers that it keeps up with."""
    found = count / took
    return Figure(name, found, unit, notes={"count": count, "shortest cell, s": WORKERS / found, **notes})


class Nowhere:
    """A tracker that writes nothing: what the spool's thread does is measured apart."""

    def log_all(self, planned: Sequence[Planned[Task]]) -> int:
        """Called by the spool."""
        return len(planned)


def handled(plan: Plan, reports: int) -> Figure:
    """A report of one finished cell through all that the driver does with it, within Tune's loop."""
    cells = [planned.task for planned in plan.cells]
    jobs = [
        SimpleNamespace(trial_id=f"trial-{n}", temporary_state=SimpleNamespace(ray_actor=None)) for n in range(1000)
    ]
    tally, planned = Tally("grid", len(cells)), {p.task.id: p for p in plan.cells}
    tally.start(cells, ALIKE)
    with tempfile.TemporaryDirectory() as folder, Spool(Nowhere(), print) as spool:  # type: ignore[arg-type]
        on_event = _listener(tally, planned, Store(folder), spool, print)
        halt, hangs, listening = Halt(), Hangs(Signs(cells, ALIKE, 900.0), on_event), _Events(on_event)

        def work() -> None:
            for number in range(reports):
                job, done = jobs[number % len(jobs)], cells[number % len(cells)]
                event = {"task_ids": [done.id], "failed": [], "running": [cells[number * 7 % len(cells)].id]}
                report = {**TOLD, **event, "accuracy": 90.0, "trial_id": job.trial_id}
                halt(job.trial_id, report)
                listening.on_trial_result(number, jobs, job, report)
                hangs.on_trial_result(number, jobs, job, report)
                hangs.on_step_end(number, jobs)

        took = seconds(work)
    return rate("reports handled: tally, store, spool, watch over hangs", reports, took)


def redrawn(plan: Plan) -> Figure:
    """The table of stages while a thousand jobs run; it is drawn twice a second."""
    cells, clock = [planned.task for planned in plan.cells[:WORKERS]], iter(range(1_000_000))
    tally = Tally("grid", len(cells), clock=lambda: float(next(clock)))
    tally.start(cells, ALIKE)
    for number, cell in enumerate(cells):
        event: Event = {"running": [cell.id], "share": 0.5, "accuracy": 90.0, "trial_id": f"trial-{number}"}
        tally.advance(event)
    console = Console(file=io.StringIO(), force_terminal=True)
    took = statistics.median(seconds(lambda: console.print(stage_table([tally.line]))) for _ in range(20))
    return Figure(f"the table of stages, {WORKERS:,} jobs", took * 1000, "ms", notes={"share of a core": 2 * took})


def recorded(planned: Sequence[Planned[Cell]], store: Store) -> Iterator[Figure]:
    """Records written to a folder by one worker, and read by the driver when it hears of them."""
    result, environment = template()
    store.prepare()

    def write() -> None:
        for each in planned:
            store.finish(each.task, result, environment)

    yield rate("records written to a local folder by one process", len(planned), seconds(write))
    driver = Store(store.root)

    def see() -> None:
        for each in planned:
            driver.hear([each.task.id])
            assert driver.record(each.task)

    yield rate("records heard of and read by the driver", len(planned), seconds(see))


def in_mlflow(plan: Plan, planned: Sequence[Planned[Cell]], store: Store, folder: Path) -> Figure:
    """Finished cells through the spool to MLflow on SQLite."""
    tracker = Tracker(connect(f"sqlite:///{folder / 'mlflow.db'}"), plan.name, store)

    def work() -> None:
        with Spool(tracker, print) as spool:
            for each in planned:
                spool(each)

    took = seconds(work)
    assert len(tracker.known) == len(planned)
    return rate("cells through the spool to MLflow on SQLite", len(planned), took)


def asked() -> Figure:
    """The driver's look at the signs of life of a thousand jobs that report nothing; due every five seconds."""
    names = [f"trial-{number}" for number in range(WORKERS)]
    for name in names:
        ray_private.put_mark(name, "1.0")
    took = seconds(lambda: [ray_private.mark_at(name) for name in names])
    for name in names:
        ray_private.remove_mark(name)
    return Figure(f"signs of life of {WORKERS:,} silent jobs looked at", took, "s", notes={"every, s": 5})


def looped(plan: Plan, store: Store, cell: float, workers: int = WORKERS, told: int | None = None) -> Figure:
    """A whole stage on Tune: its loop and the driver's part of it, with a running trial for each worker.

    :param told: the number of workers that each of them is told; 1: each reports as often as one that is alone.
    """
    tasks, planned = [each.task for each in plan.cells], {each.task.id: each for each in plan.cells}
    jobs, heard = pack(tasks, workers, ALIKE), list[Heard]()
    settings = Settings(address="in this process", workers=workers)  # Ray is connected already
    store.prepare()
    with (
        standing_for_workers(jobs, cell, told or workers),
        Screen(Console(file=io.StringIO())).stage("cells", tasks, ALIKE) as tally,
        Spool(Nowhere(), print) as spool,  # type: ignore[arg-type]
    ):
        on_event = _listener(tally, planned, store, spool, print)

        def hear(event: Event) -> None:
            on_event(event)
            heard.append(Heard(time.perf_counter(), time.thread_time(), len(event.get("task_ids", ()))))

        datasets = {"digits": to_arrays(load_dataset("digits"))}
        why = run_stage(tasks, ALIKE, Means(store, settings, hear, datasets))
    assert not why
    assert sum(each.cells for each in heard) == len(tasks)
    steady = middle(heard)
    took, core = steady[-1].wall - steady[0].wall, steady[-1].core - steady[0].core
    count = sum(each.cells for each in steady[1:])
    notes = {"reports": len(steady) - 1, "reports/s": (len(steady) - 1) / took, "jobs": len(jobs)}
    notes |= {"share of a core": core / took, "share of the workers' time": count / took * cell / workers}
    often = ", reports every 2 s" if told == 1 else ""
    return rate(f"Ray Tune's loop, {workers:,} trials, cells of {cell:g} s{often}", count, took, **notes)


class Heard(NamedTuple):
    """A report that the driver has handled."""

    wall: float
    core: float
    """Seconds, and CPU seconds of the thread that handles them."""
    cells: int


def middle(heard: Sequence[Heard]) -> Sequence[Heard]:
    """The reports from a fifth of the cells to four fifths, when all workers have begun and none is out of work."""
    done = list(itertools.accumulate(each.cells for each in heard))
    first = next(index for index, count in enumerate(done) if count >= done[-1] / 5)
    last = next(index for index, count in enumerate(done) if count >= done[-1] * 4 / 5)
    return heard[first : last + 1]
