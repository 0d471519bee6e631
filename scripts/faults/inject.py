"""The faults, and the choice of the next one."""

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from faults.apart import change_data, kill_in_migration
from faults.damage import Inspector
from faults.experiment import HALTING, Experiment, set_pace
from faults.processes import busy_workers, parent_if_stopped, title_of

WEIGHTS = {
    "kill -9 of a worker": 30,
    "kill -9 of a node": 8,
    "kill -9 of the driver": 12,
    "Ctrl-C": 10,
    "kill -9 of the MLflow server": 10,
    "truncated record": 20,
    "kill -9 of storage gather or scatter": 12,
    "truncated segment": 6,
    "truncated checkpoint, its worker killed": 30,
    "SIGSTOP of a worker": 10,
    "kill -9 of a start in its migration": 4,
    "data changed between two runs": 2,
    "full disk": 10,
    "S3 server that does not answer": 15,
    "node 1 cut off": 5,
    "node 2 cut off": 5,
    "MLflow server cut off": 5,
    "S3 server cut off": 5,
}
"""Relative probability of each fault, when it is possible."""

Fault = Callable[[], int]
"""Injects a fault, and returns the number of things that it saw go wrong."""


def named(only: str) -> list[str]:
    """The faults whose names hold one of the parts of ``only``, which commas separate; all faults if it is empty."""
    return [name for name in WEIGHTS if any(part in name for part in only.split(","))]


class Faults:
    """The faults that can hit an experiment."""

    def __init__(self, experiment: Experiment, inspector: Inspector, seed: int, wanted: Collection[str]):
        self.experiment, self.inspector, self.wanted = experiment, inspector, wanted
        self.dice = random.Random(seed)
        self.stopped: list[int] = []

    def inject(self, seen: Collection[str]) -> tuple[str, int]:
        """Inject a wanted fault, if possible one not in ``seen``; return its name, and how many things went wrong.

        If none is possible although all tasks are finished, inject any, because that may make work again.
        """
        time.sleep(self.dice.uniform(0, 0.5))
        while not (possible := self._wanted()) and not self.experiment.done:
            self.experiment.await_progress()
        possible = possible or self.possible()
        possible = {name: fault for name, fault in possible.items() if name not in seen} or possible
        name = self.dice.choices(list(possible), [WEIGHTS[name] for name in possible])[0]
        return name, possible[name]()

    def _wanted(self) -> dict[str, Fault]:
        return {name: fault for name, fault in self.possible().items() if name in self.wanted}

    def possible(self) -> dict[str, Fault]:
        """The faults that can be injected now."""
        found: dict[str, Fault] = {
            "kill -9 of a start in its migration": self._kill_in_migration,
            "data changed between two runs": self._change_data,
        }
        if self.experiment.running:
            found |= {"kill -9 of a node": self._kill_node}
            found |= {"kill -9 of the driver": self._kill_driver, "Ctrl-C": self._interrupt}
            if self._busy():
                found["kill -9 of a worker"] = self._kill_worker
                found["SIGSTOP of a worker"] = self._stop_worker
                if self.experiment.steps() and not self.experiment.troubled:
                    found["truncated checkpoint, its worker killed"] = self._truncate_checkpoint
        if not self.experiment.server_away:
            found["kill -9 of the MLflow server"] = self._kill_server
        if not self.experiment.troubled:
            found |= {name: partial(self._trouble, name) for name in self.experiment.site.troubles}
            if self._with_files():
                found["truncated record"] = self._truncate_record
            if self.experiment.segments():
                found["truncated segment"] = self._truncate_segment
            if len(self.inspector.finished) > 1:
                found["kill -9 of storage gather or scatter"] = self._kill_gathering
        return found

    @property
    def _raylets(self) -> set[int]:
        return {node.raylet for node in self.experiment.cluster.nodes}

    def _busy(self) -> list[int]:
        return busy_workers(self._raylets)

    def _kill_worker(self) -> int:
        for worker in self._busy()[: 1 + (self.dice.random() < 0.2)]:
            os.kill(worker, signal.SIGKILL)
        return 0

    def _stop_worker(self) -> int:
        """Stop a worker that has begun its work: nothing runs on its node until the driver ends it."""
        for worker in self.dice.sample(busy := self._busy(), len(busy)):
            if "train" in title_of(worker):
                os.kill(worker, signal.SIGSTOP)
                self.stopped.append(worker)
                break
        return 0

    def left_stopped(self) -> int:
        """Count the stopped workers that still exist; end those of a killed node, as if its power had failed."""
        raylets = self._raylets
        for worker in self.stopped:
            if (parent := parent_if_stopped(worker)) and parent not in raylets:
                os.kill(worker, signal.SIGKILL)
        return sum(parent_if_stopped(worker) in raylets for worker in self.stopped)

    def await_ends(self, patience: float = 60.0) -> int:
        """Count the stopped workers that still exist after a driver has ended and its nodes had time to end them."""
        deadline = time.monotonic() + patience
        while (left := self.left_stopped()) and time.monotonic() < deadline:
            time.sleep(1)
        return left

    def _folder_apart(self) -> Path:
        """Hold up the grid for a minute, and return a folder for a run beside it."""
        set_pace(self.experiment.pace, HALTING)
        return self.experiment.folder / "apart" / str(time.monotonic_ns())

    def _kill_in_migration(self) -> int:
        return kill_in_migration(self._folder_apart(), self.experiment.cluster, self.dice)

    def _change_data(self) -> int:
        return change_data(self._folder_apart(), self.experiment.cluster, self.dice)

    def _kill_node(self) -> int:
        self.experiment.cluster.replace(self.dice.randrange(2))
        self.left_stopped()
        return 0

    def _kill_driver(self) -> int:
        self.experiment.kill_driver()
        return 0

    def _interrupt(self) -> int:
        driver = self.experiment.driver
        assert driver
        driver.send_signal(signal.SIGINT)
        code = driver.wait()
        if code in (130, -signal.SIGINT, 0):  # a shell reports the first two alike
            return 0
        print(f"Ctrl-C ended the driver with {code}:\n{self.experiment.log.read_text()[-4000:]}", file=sys.stderr)
        return 1

    def _kill_server(self) -> int:
        self.experiment.kill_server(away=self.dice.uniform(0, 8))
        return 0

    def _trouble(self, name: str) -> int:
        self.experiment.trouble(name, self.dice.uniform(2, self.experiment.site.troubles[name].longest))
        return 0

    def _truncate_record(self) -> int:
        """Truncate one record, or ten if the grid is done."""
        experiment = self.experiment
        cells = self._with_files()
        for cell in self.dice.sample(cells, min(len(cells), 1 if experiment.running else 10)):
            experiment.truncate(f"cells/{cell}.json", self.dice.random())
            self.inspector.forgive_record(cell)
        return 0

    def _with_files(self) -> list[str]:
        """The finished cells whose records have files of their own."""
        files = self.experiment.store.place.within("cells").names()
        return [task for name in files if (task := name.removesuffix(".json")) in self.inspector.finished]

    def _truncate_segment(self) -> int:
        """Truncate a file with the records of many cells; most of them are left."""
        name = self.dice.choice(self.experiment.segments())
        self.experiment.truncate(f"segments/{name}", self.dice.uniform(0.8, 1))
        for cell in self.inspector.finished - self.experiment.finished():
            self.inspector.forgive_record(cell)
        return 0

    def _kill_gathering(self) -> int:
        """Kill `autosparse storage gather`, or `scatter`, midway; the run goes on after it."""
        self.experiment.kill_driver()
        self.experiment.gather(self.dice.choice(["gather", "gather", "scatter"]), self.dice.uniform(0, 0.1))
        return 0

    def _truncate_checkpoint(self) -> int:
        """Truncate a file of the newest checkpoint, and kill a worker, which may be the run's."""
        with contextlib.suppress(FileNotFoundError, IndexError):  # the run may be done by now
            task = self.dice.choice(sorted(self.experiment.steps()))
            files = sorted(
                name for name in self.experiment.store.place.within(f"states/{task}").names() if name[0].isdigit()
            )
            self.experiment.truncate(f"states/{task}/{files[-self.dice.randrange(1, 3)]}", 0.5)
            self.inspector.forgive_checkpoint(task)
        return self._kill_worker()
