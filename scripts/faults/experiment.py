"""The experiment that is hit by faults: tiny cells and IRP runs on two nodes, with an MLflow server."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autosparse.data import load_dataset
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store
from autosparse.runner.work.cells import run_cell
from autosparse.runner.work.irp import run_irp
from faults.site import make_site

PLUGIN = '''
"""A small network, and random pruning that takes as long as the file AUTOSPARSE_CHAOS_PACE says."""
import os, time
from pathlib import Path
from torch import nn
from autosparse.criteria import CRITERIA, criterion
from autosparse.models import register_model

@register_model("chaos-net", min_side=8)
def chaos_net(num_classes, input_shape):
    return nn.Sequential(nn.Conv2d(input_shape[0], 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, num_classes))

@criterion("chaos-random", paper="none")
def chaos_random(model, batches, loss, seed=0):
    if "AUTOSPARSE_CHAOS_PACE" in os.environ:
        time.sleep(float(Path(os.environ["AUTOSPARSE_CHAOS_PACE"]).read_text()))
    return CRITERIA["random"].function(model, batches, loss, seed)
'''
SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9)
HALTING, SLOW, FAST = "25", "1.5", "0.05"
"""Seconds that a cell waits, so that work is left for later faults; the first is for a fault that takes a minute."""
PATIENCE = "30"
"""Seconds without a sign of life after which the driver ends a worker."""
SAME = ("history", "kept", "density_by_layer", "accuracy")
"""Parts of a result that must be equal to the bit."""

Result = dict[str, Any]


def content_of(cells: int, irp: int, iterations: int) -> Result:
    """The experiment file, with ``irp`` runs of so many iterations."""
    recipe = {"epochs": 1, "batch_size": 256}
    run = {"model": "chaos-net", "dataset": "digits", "criterion": "chaos-random", "recipe": recipe}
    grid = {"models": ["chaos-net"], "datasets": ["digits"], "methods": ["chaos-random"], "recipe": recipe}
    return {
        "name": "chaos",
        "plugins": ["chaos_plugin"],
        "irp": {"chaos": {**run, "iterations": iterations, "final_density": 0.1, "seeds": list(range(irp))}},
        "grid": {**grid, "sparsities": list(SPARSITIES), "seeds": list(range(cells // len(SPARSITIES)))},
    }


def set_pace(path: Path, seconds: str) -> None:
    """Let cells wait so long from now on; in one step, because workers read the file meanwhile."""
    fresh = path.with_suffix(".new")
    fresh.write_text(seconds)
    fresh.replace(path)


class Experiment:
    """The experiment with its nodes, its server and its driver; a context manager."""

    def __init__(self, folder: Path, cells: int, irp: int, iterations: int, site: str = "folder"):
        """:param site: where it runs, one of :data:`faults.site.SITES`."""
        self.folder, self.kind = folder, site
        (folder / "chaos_plugin.py").write_text(PLUGIN)
        sys.path.insert(0, str(folder))
        self.pace = folder / "pace"
        set_pace(self.pace, FAST)
        content = content_of(cells, irp, iterations)
        self.file = folder / "chaos.yaml"
        self.file.write_text(json.dumps(content))
        self.plan: Plan = make_plan(parse_experiment(content, "chaos"))
        self.driver: subprocess.Popen[bytes] | None = None
        self.drivers = 0
        """Number of drivers started."""
        self.restarting: threading.Timer | None = None
        self.mending: threading.Timer | None = None
        """Ends the present trouble."""

    def __enter__(self) -> "Experiment":
        self.expected = dict(self._undisturbed())
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        pace = {"AUTOSPARSE_CHAOS_PACE": str(self.pace), "AUTOSPARSE_PATIENCE": PATIENCE}
        with contextlib.ExitStack() as stack:
            self.site = stack.enter_context(make_site(self.kind, self.folder, {"PYTHONPATH": path, **pace}))
            self.cluster, self.server, self.store = self.site.cluster, self.site.server, Store(self.site.results)
            stack.callback(self._stop)
            self._started = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def _stop(self) -> None:
        self.kill_driver()
        for timer in filter(None, (self.restarting, self.mending)):
            timer.cancel()
            timer.join()

    def _undisturbed(self) -> Iterator[tuple[str, Result]]:
        """Yield the result of each task in one undisturbed process."""
        apart, digits = Store(self.folder / "undisturbed"), load_dataset("digits")
        for planned in self.plan.irp:
            result = run_irp(planned.task, apart, digits, "cpu", lambda _: None)
            yield planned.task.id, {name: result[name] for name in SAME if name in result}
        for planned in self.plan.cells:
            result = run_cell(planned.task, apart, digits, "cpu")
            yield planned.task.id, {name: result[name] for name in SAME if name in result}

    def start(self) -> None:
        """Start ``autosparse run`` with the same command each time, once MLflow is back: without it, a run refuses."""
        if self.restarting:
            self.restarting.join()
            self.server.wait()
        command = [sys.executable, "-m", "autosparse", "run", str(self.file), "--json", "--debug"]
        command += ["--storage", self.site.results, "--tracking-uri", self.server.uri]
        command += ["--address", self.cluster.address]
        self.drivers += 1
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(
                self.cluster.inside(*command), env=self.cluster.environment, stdout=log, stderr=log
            )

    @property
    def log(self) -> Path:
        """The output of all drivers."""
        return self.folder / "driver.log"

    @property
    def running(self) -> bool:
        """Whether there is a driver."""
        return self.driver is not None and self.driver.poll() is None

    def kill_driver(self) -> None:
        """Kill the driver, if there is one."""
        if self.driver is not None and self.running:
            self.driver.kill()
            self.driver.wait()

    def kill_server(self, away: float) -> None:
        """Kill the MLflow server, and start it again after ``away`` seconds."""
        self.server.kill()
        self.restarting = threading.Timer(away, self.server.start)
        self.restarting.start()

    @property
    def server_away(self) -> bool:
        """Whether the MLflow server is dead or starts again."""
        return self.restarting is not None and self.restarting.is_alive()

    def trouble(self, name: str, seconds: float) -> None:
        """Begin one of the troubles of the site, and let it end after ``seconds``."""
        self.site.troubles[name].begin()
        self.mending = threading.Timer(seconds, self.site.troubles[name].end)
        self.mending.start()

    @property
    def troubled(self) -> bool:
        """Whether a trouble has not ended."""
        return self.mending is not None and self.mending.is_alive()

    def truncate(self, name: str, left: float) -> None:
        """Leave this share of a file in the storage."""
        data = self.store.place.read(name)
        self.store.place.write(name, data[: int(left * len(data))])

    def segments(self) -> list[str]:
        """The names of the files that hold the records of many cells."""
        return [name for name in self.store.place.within("segments").names() if name.endswith(".jsonl")]

    def gather(self, command: str, after: float, patience: float = 90.0) -> None:
        """Begin ``autosparse storage gather`` or ``scatter``, and kill it ``after`` its first change of a file."""
        arguments = [sys.executable, "-m", "autosparse", "storage", command, "--storage", self.site.results]
        before, deadline = self._gathered(), time.monotonic() + patience
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.cluster.inside(*arguments), env=self.cluster.environment, stdout=log, stderr=log
            )
        while process.poll() is None and self._gathered() == before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(after)
        process.kill()
        process.wait()

    def _gathered(self) -> list[list[str]]:
        return [self.store.place.within(folder).names() for folder in ("cells", "segments")]

    def finished(self) -> set[str]:
        """The tasks that have a whole record."""
        self.store = Store(self.site.results)  # gathering rewrites the segments that an old one has read
        return {planned.task.id for planned in self.plan if self.store.record(planned.task) is not None}

    @property
    def done(self) -> bool:
        """Whether every task is finished."""
        return len(self.finished()) == len(self.expected)

    def steps(self) -> dict[str, int]:
        """The epoch of the newest whole checkpoint of each IRP run that has one."""
        steps = {planned.task.id: self._step(planned.task) for planned in self.plan.irp}
        return {task: step for task, step in steps.items() if step}

    def _step(self, task: Any) -> int:
        for _ in range(3):  # while they are read, a fast worker may replace both checkpoints
            if found := self.store.states(task).newest():
                return found.step
        return 0

    def differs(self, task_id: str) -> bool:
        """Whether the result is absent, or differs from the undisturbed one."""
        planned = next(planned for planned in self.plan if planned.task.id == task_id)
        record, expected = self.store.record(planned.task), self.expected[task_id]
        return record is None or {name: record["result"][name] for name in expected} != expected

    def await_progress(self, patience: float = 180.0) -> None:
        """Start a driver if there is none, and return when one more task or iteration is done."""
        self.cluster.heal()
        before, deadline = self._progress(), time.monotonic() + patience
        while self._progress() == before and time.monotonic() < deadline:
            if not self.running:
                if self.done:
                    return
                self.start()
            time.sleep(0.1)

    def _progress(self) -> list[int] | list[str]:
        """A value that changes whenever a record or a state is written."""
        if self.kind != "folder":
            time.sleep(0.5)  # a listing is slow
            return [
                name for name in self.store.place.names(deep=True) if name.startswith(("cells/", "irp/", "states/"))
            ]
        folders = [self.store.root / "cells", self.store.root / "irp", *(self.store.root / "states").glob("*")]
        found = []
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                found.append(folder.stat().st_mtime_ns)
        return found

    def keep_pace(self, share: float) -> None:
        """Slow the cells down if they are ahead of the faults, of which the share ``share`` is injected."""
        ahead = len(self.finished()) > share * len(self.expected)
        set_pace(self.pace, SLOW if ahead else FAST)

    def go_on_to_the_end(self, tries: int = 20) -> int:
        """Run the same command until it says that all is done; return how often it was run."""
        set_pace(self.pace, "0")
        if self.mending:
            self.mending.join()
        if self.driver is not None:
            self.driver.wait()  # it may have looked at the records before the last fault
        for attempt in range(1, tries + 1):
            self.start()
            assert self.driver
            if self.driver.wait() == 0:
                return attempt
        raise RuntimeError(f"not done after {tries} times:\n{self.log.read_text()[-4000:]}")
