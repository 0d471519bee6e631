"""A Ray cluster whose driver, nodes, MLflow server and S3 store are hosts of their own, on a network that can be cut.

with LocalHosts(folder, delay=0.1, loss=0.02) as hosts:
    command = hosts.inside("autosparse", "run", "grid.yaml", "--address", hosts.address)
    subprocess.Popen(command, env=hosts.environment)
    hosts.network.cut("node-1")
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import local_s3
from elastic_cluster import RAY
from local_cluster import MEMORY, START, Node, quiet
from local_mlflow import MlflowServer
from local_network import Network

DRIVER, MLFLOW, STORE, NODES = "driver", "mlflow", "store", ("node-1", "node-2")
RAY_PORT, S3_PORT = 6379, 9000
SUPERVISED = ("sh", "-c", 'while true; do "$@"; sleep 1; done', "supervisor")
"""Starts a command again when it has ended, as a supervisor of services does: Ray ends on a node that was cut off, and
if its start takes more than 30 s on a busy machine."""


class LocalHosts:
    """Starts five hosts: one for the driver and Ray's head, two Ray nodes with one CPU each, MLflow, and an S3 store.

    Each host has its own folder for Ray's files and its own cache. The hosts share the network, and the files of the
    code. Use it as a context manager.

    :param folder: holds the logs, and MLflow's store.
    :param delay: seconds that a packet takes, from the start on.
    :param loss: share of the packets that get lost.
    :param environment: variables of all processes.
    """

    def __init__(self, folder: Path, delay: float, loss: float, **environment: str):
        self.folder, self.variables = folder, environment
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.short = Path(tempfile.mkdtemp(prefix="asp-", dir="/tmp"))  # the paths of sockets are bounded
        with contextlib.ExitStack() as stack:
            stack.callback(self._forget)
            self.network = stack.enter_context(Network(DRIVER, *NODES, MLFLOW, STORE))
            self.network.set(delay, loss)
            self.store = (self.network.hosts[STORE].address, S3_PORT)
            self._start(STORE, sys.executable, local_s3.__file__, *map(str, self.store))
            self.mlflow = MlflowServer(folder / "mlflow", host=self.network.hosts[MLFLOW])
            stack.enter_context(self.mlflow)
            self._await(STORE, lambda: local_s3.listens(*self.store))
            self.address = f"{self.network.hosts[DRIVER].address}:{RAY_PORT}"
            self._start_ray(DRIVER, "--head", f"--port={RAY_PORT}", "--num-cpus=0", "--include-dashboard=false")
            for name in NODES:
                self._start_ray(name, f"--address={self.address}", "--num-cpus=1")
            self._stack = stack.pop_all()

    def bucket(self, name: str) -> str:
        """The address of a prefix in a new bucket."""
        return local_s3.make_bucket(":".join(map(str, self.store)), name)

    def inside(self, *command: str) -> list[str]:
        """The command line that runs ``command`` on the driver's host."""
        return self.network.hosts[DRIVER].inside(*command)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the driver."""
        return self._environment(DRIVER)

    @property
    def nodes(self) -> list[Node]:
        """The Ray nodes that run now; the head is not one of them."""
        return [Node(name, raylet) for name in NODES if (raylet := self._raylet(name))]

    def replace(self, place: int) -> None:
        """Kill a node, if it runs; its supervisor starts it again."""
        if raylet := self._raylet(NODES[place]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(raylet, signal.SIGKILL)

    def heal(self) -> None:
        """Do nothing: the supervisor of each host starts what has ended there."""

    def _raylet(self, name: str) -> int:
        """The id of the node's raylet, or 0 if it does not run."""
        for pid in self.network.hosts[name].processes():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"/raylet"):
                    return pid
        return 0

    def _environment(self, name: str) -> dict[str, str]:
        own = self.short / name
        return {**quiet(own), "AUTOSPARSE_CACHE": str(own / "cache"), **self.variables}

    def _start(self, name: str, *command: str) -> None:
        (self.short / name).mkdir(exist_ok=True)
        with self._log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(
                self.network.hosts[name].inside(*command), env=self._environment(name), stdout=log, stderr=log
            )

    def _start_ray(self, name: str, *options: str) -> None:
        own = [f"--node-ip-address={self.network.hosts[name].address}", f"--temp-dir={self.short / name}"]
        command = (*SUPERVISED, str(RAY), "start", "--block", f"--object-store-memory={MEMORY}")
        self._start(name, *command, *own, *options)
        self._await(name, lambda: "Ray runtime started" in self._log(name).read_text())

    def _await(self, name: str, begun: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 2 * START
        while not begun():
            if self.running[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"host {name} did not start:\n{self._log(name).read_text()[-2000:]}")
            time.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _forget(self) -> None:
        for process in self.running.values():
            process.wait()
        shutil.rmtree(self.short, ignore_errors=True)

    def __enter__(self) -> "LocalHosts":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
