"""An MLflow server on loopback, or on a host of its own, that can be killed and restarted."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from local_network import Host

START = 180.0
"""Seconds for the server to answer."""


class MlflowServer:
    """One server process with its workers; a context manager. Its artifacts are in ``folder``, as is its store if
    ``backend`` names no other.

    :param host: where it runs; by default, here, for this machine alone.
    """

    def __init__(self, folder: Path, backend: str | None = None, workers: int = 1, host: Host | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.host, self.address = host, host.address if host else "127.0.0.1"
        self.folder, self.port, self.workers = folder, free_port(), workers
        self.backend = backend or f"sqlite:///{folder / 'server.db'}"
        self.uri = f"http://{self.address}:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        """Start the server; by default, wait until it answers."""
        options = ["--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "artifacts")]
        options += ["--host", self.address, "--port", str(self.port), "--workers", str(self.workers)]
        if self.host:
            options += ["--allowed-hosts", f"{self.address}:{self.port}"]
        command = [sys.executable, "-m", "mlflow", "server", *options]
        off = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.host.inside(*command) if self.host else command,
                env={**os.environ, **off},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + START
        while not self.answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "server.log").read_text()[-2000:]
                raise RuntimeError(f"the MLflow server did not start:\n{said}")
            time.sleep(0.2)

    def answers(self) -> bool:
        """Whether the server is up."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """Kill the server and its workers with SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self) -> "MlflowServer":
        try:
            self.start()
        except BaseException:  # no __exit__ follows
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
