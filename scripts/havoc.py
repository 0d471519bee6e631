"""Random faults in a real experiment: what `scripts/chaos.py` injects, and how it looks for damage."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apart import NOTICES_CHANGED_DATA, change_data, kill_in_migration, parent_if_stopped
from ledger import Ledger
from local_cluster import LocalCluster
from local_mlflow import MlflowServer

from autosparse.data import load_dataset
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store
from autosparse.runner.work.cells import run_cell
from autosparse.runner.work.irp import run_irp

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
HALTING, SLOW, FAST = "25", "1.5", "0.05"
"""Seconds that a cell waits, so that work is left for later faults; the first is for a fault that takes a minute."""
PATIENCE = "30"
"""Seconds without a sign of life after which the driver ends a worker."""
SAME = ("history", "kept", "density_by_layer", "accuracy")
"""Parts of a result that must be equal to the bit."""
WEIGHTS = {
    "kill -9 of a worker": 30,
    "kill -9 of a node": 8,
    "kill -9 of the driver": 12,
    "Ctrl-C": 10,
    "kill -9 of the MLflow server": 10,
    "truncated record": 20,
    "truncated checkpoint, its worker killed": 30,
    "SIGSTOP of a worker": 10,
    "kill -9 of a start in its migration": 4,
    **({"data changed between two runs": 2} if NOTICES_CHANGED_DATA else {}),
}
"""Relative probability of each fault, when it is possible."""


@dataclass
class Damage:
    """The damage that one kind of fault did."""

    injected: int = 0
    lost: int = 0
    """Finished tasks, or iterations of an IRP run, that have gone."""
    doubled: int = 0
    """Second runs of a task in MLflow."""
    wrong: int = 0
    """Results that differ from the undisturbed run's, and undocumented exit codes."""


class Havoc:
    """An experiment on two nodes with an MLflow server, and the faults that can hit it; a context manager."""

    def __init__(self, folder: Path, cells: int, irp: int, iterations: int, seed: int, only: str = ""):
        """
        :param only: part of the names of the faults to inject, or several parts with commas; empty: all faults.
        """
        self.folder, self.dice, self.only = folder, random.Random(seed), only.split(",")
        (folder / "chaos_plugin.py").write_text(PLUGIN)
        sys.path.insert(0, str(folder))
        self.pace = folder / "pace"
        self.pace.write_text(FAST)
        recipe = {"epochs": 1, "batch_size": 256}
        runs = {"model": "chaos-net", "dataset": "digits", "criterion": "chaos-random", "recipe": recipe}
        sparsities = [0.5, 0.6, 0.7, 0.8, 0.9]
        grid = {"models": ["chaos-net"], "datasets": ["digits"], "methods": ["chaos-random"], "recipe": recipe}
        content = {
            "name": "chaos",
            "plugins": ["chaos_plugin"],
            "irp": {"chaos": {**runs, "iterations": iterations, "final_density": 0.1, "seeds": list(range(irp))}},
            "grid": {**grid, "sparsities": sparsities, "seeds": list(range(cells // len(sparsities)))},
        }
        self.file = folder / "chaos.yaml"
        self.file.write_text(json.dumps(content))
        self.plan: Plan = make_plan(parse_experiment(content, "chaos"))
        self.store = Store(folder / "results")
        self.ledger = Ledger(folder / "mlflow" / "server.db")
        self.driver: subprocess.Popen[bytes] | None = None
        self.whole: set[str] = set()
        self.steps: dict[str, int] = {}
        self.drivers = 0
        self.restarting: threading.Timer | None = None
        self.stopped: list[int] = []

    def __enter__(self) -> "Havoc":
        self.expected = dict(self._undisturbed())
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        self.server = MlflowServer(self.folder / "mlflow")
        self.server.start(wait=False)
        self.cluster = LocalCluster(
            2, PYTHONPATH=path, AUTOSPARSE_CHAOS_PACE=str(self.pace), AUTOSPARSE_PATIENCE=PATIENCE
        )
        self.server.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self.driver is not None and self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()
        if self.restarting:
            self.restarting.cancel()
            self.restarting.join()
        self.cluster.close()
        self.server.kill()

    def _undisturbed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The results of each task in one undisturbed process."""
        apart, digits = Store(self.folder / "undisturbed"), load_dataset("digits")
        for planned in self.plan.irp:
            result = run_irp(planned.task, apart, digits, "cpu", lambda _: None)
            yield planned.task.id, {name: result[name] for name in SAME if name in result}
        for cell in self.plan.cells:
            result = run_cell(cell.task, apart, digits, "cpu")
            yield cell.task.id, {name: result[name] for name in SAME if name in result}

    # --- the driver

    def start(self) -> None:
        """Start ``autosparse run`` with the same command each time, once MLflow is back: without it, a run refuses."""
        if self.restarting:
            self.restarting.join()
            self.server.wait()
        command = [sys.executable, "-m", "autosparse", "run", str(self.file), "--json", "--debug"]
        command += ["--storage", str(self.store.root), "--tracking-uri", self.server.uri]
        self.drivers += 1
        with (self.folder / "driver.log").open("ab") as log:
            self.driver = subprocess.Popen(
                [*command, "--address", self.cluster.address], env=self.cluster.environment, stdout=log, stderr=log
            )

    @property
    def running(self) -> bool:
        """Whether there is a driver."""
        return self.driver is not None and self.driver.poll() is None

    def await_progress(self, patience: float = 180.0) -> None:
        """Start a driver if there is none, and return when one more task or iteration is done."""
        self.cluster.heal()
        before, deadline = self._progress(), time.monotonic() + patience
        while self._progress() == before and time.monotonic() < deadline:
            if not self.running:
                if len(self._whole()) == len(self.expected):
                    return
                self.start()
            time.sleep(0.1)

    def _progress(self) -> list[int]:
        """A value that changes whenever a record or a state is written."""
        folders = [self.store.root / "cells", self.store.root / "irp", *(self.store.root / "states").glob("*")]
        found = []
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                found.append(folder.stat().st_mtime_ns)
        return found

    def keep_pace(self, share: float) -> None:
        """Slow the cells down if they are ahead of the faults, of which the share ``share`` is injected."""
        ahead = len(self._whole()) > share * len(self.expected)
        self.pace.write_text(SLOW if ahead else FAST)

    def go_on_to_the_end(self, tries: int = 20) -> int:
        """Run the same command until it says that all is done; return how often that was."""
        self.pace.write_text("0")
        for attempt in range(1, tries + 1):
            if not self.running:
                self.start()
            assert self.driver
            if self.driver.wait() == 0:
                return attempt
        raise RuntimeError(f"not done after {tries} times: see {self.folder / 'driver.log'}")

    # --- faults

    def possible(self) -> dict[str, Callable[[], int]]:
        """The faults that can be injected now; each returns the number of things that it saw go wrong."""
        found: dict[str, Callable[[], int]] = {"kill -9 of a start in its migration": self._kill_in_migration}
        if NOTICES_CHANGED_DATA:
            found["data changed between two runs"] = self._change_data
        if self.running:
            found |= {"kill -9 of a node": self._kill_node}
            found |= {"kill -9 of the driver": self._kill_driver, "Ctrl-C": self._interrupt}
            if self._busy():
                found["kill -9 of a worker"] = self._kill_worker
                found["SIGSTOP of a worker"] = self._stop_worker
                if self._steps():
                    found["truncated checkpoint, its worker killed"] = self._truncate_checkpoint
        if not self.restarting or not self.restarting.is_alive():
            found["kill -9 of the MLflow server"] = self._kill_server
        if any(planned.task.id in self.whole for planned in self.plan.cells):
            found["truncated record"] = self._truncate_record
        return found

    def inject(self, seen: Collection[str]) -> tuple[str, int]:
        """Inject a fault, if possible one not in ``seen``; return its name, and how many things went wrong."""
        time.sleep(self.dice.uniform(0, 0.5))
        while not (possible := self._wanted()) and len(self._whole()) < len(self.expected):
            self.await_progress()
        possible = possible or self.possible()
        possible = {name: fault for name, fault in possible.items() if name not in seen} or possible
        name = self.dice.choices(list(possible), [WEIGHTS[name] for name in possible])[0]
        return name, possible[name]()

    def _wanted(self) -> dict[str, Callable[[], int]]:
        return {name: fault for name, fault in self.possible().items() if any(part in name for part in self.only)}

    def _busy(self) -> list[int]:
        """Process ids of working actors."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                if int(status.read_text().split("PPid:")[1].split()[0]) in {n.raylet for n in self.cluster.nodes}:
                    title = (status.parent / "cmdline").read_text()
                    if title.startswith("ray::") and "IDLE" not in title and "Agent" not in title:
                        found.append(int(status.parent.name))
            except (OSError, IndexError):
                continue
        return found

    def _kill_worker(self) -> int:
        for worker in self._busy()[: 1 + (self.dice.random() < 0.2)]:
            os.kill(worker, signal.SIGKILL)
        return 0

    def _stop_worker(self) -> int:
        """Stop a worker that has begun its work: nothing runs on its node until the driver ends it."""
        for worker in self.dice.sample(busy := self._busy(), len(busy)):
            if "train" in Path(f"/proc/{worker}/cmdline").read_text():
                os.kill(worker, signal.SIGSTOP)
                self.stopped.append(worker)
                break
        return 0

    def left_stopped(self) -> int:
        """Stopped workers that still exist; those of a killed node go with it, as if its power had failed."""
        raylets = {node.raylet for node in self.cluster.nodes}
        for worker in self.stopped:
            if (parent := parent_if_stopped(worker)) and parent not in raylets:
                os.kill(worker, signal.SIGKILL)
        return sum(parent_if_stopped(worker) in raylets for worker in self.stopped)

    def await_ends(self, patience: float = 60.0) -> int:
        """Number of stopped workers that still exist after a driver has ended and its nodes had time to end them."""
        deadline = time.monotonic() + patience
        while (left := self.left_stopped()) and time.monotonic() < deadline:
            time.sleep(1)
        return left

    def _folder_apart(self) -> Path:
        """Hold up the grid for a minute, and return a folder for a run beside it."""
        self.pace.write_text(HALTING)
        return self.folder / "apart" / str(time.monotonic_ns())

    def _kill_in_migration(self) -> int:
        return kill_in_migration(self._folder_apart(), self.cluster.environment, self.cluster.address, self.dice)

    def _change_data(self) -> int:
        return change_data(self._folder_apart(), self.cluster.environment, self.dice)

    def _kill_node(self) -> int:
        self.cluster.replace(self.dice.randrange(2))
        self.left_stopped()
        return 0

    def _kill_driver(self) -> int:
        assert self.driver
        self.driver.kill()
        self.driver.wait()
        return 0

    def _interrupt(self) -> int:
        assert self.driver
        self.driver.send_signal(signal.SIGINT)
        return int(self.driver.wait() not in (130, -signal.SIGINT, 0))  # for a shell the first two are one

    def _kill_server(self) -> int:
        self.server.kill()
        self.restarting = threading.Timer(self.dice.uniform(0, 8), self.server.start)
        self.restarting.start()
        return 0

    def _truncate_record(self) -> int:
        """Truncate one record, or ten if the grid is done."""
        cells = [p.task for p in self.plan.cells if p.task.id in self.whole]
        for cell in self.dice.sample(cells, min(len(cells), 1 if self.running else 10)):
            path = self.store.record_path(cell)
            path.write_bytes(path.read_bytes()[: self.dice.randrange(path.stat().st_size)])
            self.whole.discard(cell.id)
        return 0

    def _truncate_checkpoint(self) -> int:
        task = self.dice.choice(sorted(self._steps()))
        files = sorted((self.store.root / "states" / task).glob("[0-9]*.*"))
        with contextlib.suppress(FileNotFoundError, IndexError):  # it may have been dropped or done by now
            path, self.steps[task] = files[-self.dice.randrange(1, 3)], self.steps.get(task, 0) - 1
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return self._kill_worker()

    # --- damage

    def _whole(self) -> set[str]:
        return {p.task.id for p in self.plan if self.store.record(p.task) is not None}

    def _steps(self) -> dict[str, int]:
        """The newest whole state of each unfinished IRP run."""
        states = {p.task.id: self.store.states(p.task).newest() for p in self.plan.irp}
        return {task: found.step for task, found in states.items() if found}

    def look(self, damage: Damage) -> None:
        """Count what is lost, doubled or wrong now, and blame the last fault."""
        whole, steps = self._whole(), self._steps()
        damage.lost += len(self.whole - whole)
        damage.lost += sum(steps[task] < kept for task, kept in self.steps.items() if task in steps)
        damage.wrong += sum(self._differs(task) for task in whole - self.whole)
        damage.doubled += sum(self.ledger.doubled_runs().values())
        self.whole, self.steps = whole, steps

    def _differs(self, task_id: str) -> bool:
        planned = next(p for p in self.plan if p.task.id == task_id)
        record, expected = self.store.record(planned.task), self.expected[task_id]
        return record is None or {name: record["result"][name] for name in expected} != expected
