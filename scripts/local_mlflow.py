"""An MLflow server on loopback that can be killed and restarted, on SQLite or on its own Postgres."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

START = 180.0
"""Seconds for the server to answer."""


class MlflowServer:
    """One server process with its workers; its store and artifacts are in ``folder``. A context manager."""

    def __init__(self, folder: Path, backend: str | None = None, workers: int = 1):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.workers = folder, free_port(), workers
        self.backend = backend or f"sqlite:///{folder / 'server.db'}"
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        """Start the server; by default, wait until it answers."""
        options = ["--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "artifacts")]
        options += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", str(self.workers)]
        off = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options],
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
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """Kill the server and its workers with SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self) -> "MlflowServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Postgres:
    """A Postgres on loopback in a temporary folder, as a context manager. See :func:`why_no_postgres`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # where another user may go
        self.port = free_port()
        self.uri = f"postgresql+psycopg://mlflow@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> "Postgres":
        if os.getuid() == 0:  # Postgres refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
        data = str(self.folder / "data")
        self._run(tool("initdb"), "-D", data, "-U", "mlflow", "-A", "trust", "-N")
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder}"
        self._run(tool("pg_ctl"), "-D", data, "-w", "-l", str(self.folder / "log"), "-o", options, "start")
        return self

    def __exit__(self, *_: object) -> None:
        self._run(tool("pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, *command: str) -> None:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **user)  # type: ignore[call-overload]
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stdout[-500:]} {done.stderr[-500:]}")


def tool(name: str) -> str:
    """The path of one of Postgres's programs; Debian keeps them off the PATH."""
    found = shutil.which(name) or next((str(p) for p in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), "")
    if not found:
        raise FileNotFoundError(f"no {name} here: install Postgres")
    return found


def why_no_postgres() -> str:
    """The reason why Postgres cannot be used here; empty if it can."""
    try:
        tool("initdb"), tool("pg_ctl")
    except FileNotFoundError as error:
        return str(error)
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "no driver for Postgres: pip install 'psycopg[binary]'"
    if os.getuid() == 0:
        try:
            import pwd

            pwd.getpwnam("postgres")
        except KeyError:
            return "this is root, as which Postgres does not run, and there is no user postgres"
    return ""


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
