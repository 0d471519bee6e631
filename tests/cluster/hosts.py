"""Five hosts, each with its own address: one for driver and Ray's head, two Ray nodes, MLflow, and an S3 store."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import local_s3
from commands import wait_for
from elastic_cluster import RAY
from local_cluster import MEMORY, quiet
from local_mlflow import MlflowServer
from local_network import Network

NODES = ("node-1", "node-2")
RAY_PORT, S3_PORT = 6379, 9000
SUPERVISED = ("sh", "-c", 'while true; do "$@"; sleep 1; done', "supervisor")
"""Starts a command again when it has ended, as a supervisor of services does: Ray ends on a node that was cut off, and
after 30 s of a start on a busy machine."""


class Hosts:
    """Starts them, with one CPU on each of the two nodes; a context manager.

    Each host has its own folder for Ray's files and its own cache. They share only what is sent over the network, and
    the files of the code.

    :param delay, loss: those of the network from the start on, see :class:`Network`.
    :param environment: variables of all processes.
    """

    def __init__(self, folder, delay, loss, **environment):
        self.folder, self.variables, self.running = folder, environment, {}
        self.short = Path(tempfile.mkdtemp(prefix="asp-", dir="/tmp"))  # the paths of sockets are bounded
        with contextlib.ExitStack() as stack:
            stack.callback(self._forget)
            self.network = stack.enter_context(Network("driver", *NODES, "mlflow", "store"))
            self.network.set(delay, loss)
            self.store = (self.network.hosts["store"].address, S3_PORT)
            self._start("store", sys.executable, local_s3.__file__, *self.store)
            server = MlflowServer(folder / "mlflow", host=self.network.hosts["mlflow"])
            self.tracking_uri = stack.enter_context(server).uri
            wait_for(self._stores, self.running["store"])
            self.address = f"{self.network.hosts['driver'].address}:{RAY_PORT}"
            self._start_ray("driver", "--head", f"--port={RAY_PORT}", "--num-cpus=0", "--include-dashboard=false")
            for name in NODES:
                self._start_ray(name, f"--address={self.address}", "--num-cpus=1")
            self._stack = stack.pop_all()

    def bucket(self, name):
        """The address of a prefix in a new bucket."""
        return local_s3.make_bucket(":".join(map(str, self.store)), name)

    def inside(self, *command):
        """The command line that runs ``command`` on the driver's host."""
        return self.network.hosts["driver"].inside(*command)

    @property
    def environment(self):
        """The variables of the driver."""
        return self._environment("driver")

    def _environment(self, name):
        own = self.short / name
        return {**quiet(own), "AUTOSPARSE_CACHE": str(own / "cache"), **self.variables}

    def _start(self, name, *command):
        (self.short / name).mkdir(exist_ok=True)
        command = self.network.hosts[name].inside(*map(str, command))
        with self._log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(command, env=self._environment(name), stdout=log, stderr=log)

    def _start_ray(self, name, *options):
        own = [f"--node-ip-address={self.network.hosts[name].address}", f"--temp-dir={self.short / name}"]
        command = (*SUPERVISED, RAY, "start", "--block", f"--object-store-memory={MEMORY}")
        self._start(name, *command, *own, *options)
        wait_for(lambda: "Ray runtime started" in self._log(name).read_text(), self.running[name])

    def _log(self, name):
        return self.folder / f"{name}.log"

    def _stores(self):
        with contextlib.suppress(OSError):
            socket.create_connection(self.store, timeout=5).close()
            return True
        return False

    def _forget(self):
        for process in self.running.values():
            process.wait()
        shutil.rmtree(self.short, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()
