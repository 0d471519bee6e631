"""A Postgres on loopback, for MLflow's server."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from local_mlflow import free_port


class Postgres:
    """A Postgres on loopback in a temporary folder, as a context manager. See :func:`why_no_postgres`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # where another user may go
        self.port = free_port()
        self.uri = f"postgresql+psycopg://mlflow@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> "Postgres":
        if os.getuid() == 0:  # Postgres refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
        data, log = str(self.folder / "data"), str(self.folder / "log")
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder}"
        try:
            self._run(tool("initdb"), "-D", data, "-U", "mlflow", "-A", "trust", "-N")
            self._run(tool("pg_ctl"), "-D", data, "-w", "-l", log, "-o", options, "start")
        except BaseException:  # no __exit__ follows
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(tool("pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        finally:
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
