"""A Ray session: a local one, closed to everybody else, or a running cluster."""

import contextlib
import logging
import os
import secrets
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping

from autosparse.errors import AutosparseError, first_line
from autosparse.runner.driver.stopping import held_back, signals_kept
from autosparse.runner.nodes import resources, shown
from autosparse.runner.settings import Settings

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
}
"""Ray sends no usage reports. Tune prints nothing beside our progress bars, writes no logs to the storage (records and
MLflow hold everything), takes snapshots only at start and end, leaves Ctrl-C to us, and lets a trial report an epoch
without the metric that its sweep maximises."""
STARTS_LATE = "timed out during startup"
"""Ray's text if its local node took more than half a minute to start."""
NODES_WITHIN = 300.0
"""Seconds to wait for a cluster that has no suitable node yet: nodes may be starting."""


@contextlib.contextmanager
def ray_session(settings: Settings, cpus: int = 1) -> Iterator[None]:
    """Connect to Ray for the length of the block; a session that already runs in this process is used as it is.

    :param cpus: CPUs that a job can use; a local Ray then has as many for each of ``settings.workers``, or all.
    """
    address = settings.cluster
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address:
        _require_answer(address)
    elif "ray" not in sys.modules:  # if it is, it has read its settings, and keeps its token in HOME
        # A token of this process alone: nobody else on the machine can submit work, and nothing is written to HOME.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        if os.environ["RAY_AUTH_MODE"] == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray  # here: it takes seconds, and reads the variables above when it is imported

    if ray.is_initialized():
        yield
        return
    local = {} if address else {"include_dashboard": False, "num_cpus": _local_cpus(settings.workers, cpus)}
    try:
        with warnings.catch_warnings(), signals_kept():
            warnings.simplefilter("ignore")
            ray.init(
                address=address or "local",  # without "local", Ray joins any cluster that runs on this machine
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": {name: os.environ[name] for name in QUIET}},
                **local,
            )
    except Exception as error:  # of any kind: if the machine is too busy, Ray raises a bare Exception
        where = f"the Ray cluster at {address}" if address else "a local Ray"
        reason = first_line(error).rstrip(".")
        busy = "this machine is very busy: try again, or " if STARTS_LATE in reason else ""
        raise AutosparseError(f"cannot reach or start {where}: {reason}; {busy}see `autosparse doctor`") from error
    from autosparse.runner.ray_private import print_no_deaths

    print_no_deaths()
    try:
        with contextlib.nullcontext() if address else _watched():
            yield
    finally:
        with held_back():  # else the process would end with Ray's exit code
            ray.shutdown()


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Print an error if a process of the local Ray dies: seconds later, Ray ends this process without a word."""
    from autosparse.runner.ray_private import dead_processes

    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            if dead := dead_processes():
                sys.stderr.write(
                    f"\nerror: Ray's own process {dead[0]!r} has died (it was killed, or memory ran out); finished "
                    "work is kept: run the same command to go on\n"
                )
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _local_cpus(workers: int | None, cpus: int) -> int | None:
    return workers and max(workers, min(workers * cpus, len(os.sched_getaffinity(0))))


def worker_count(settings: Settings, cpus: int = 1) -> int:
    """Number of jobs of ``cpus`` CPUs each that the connected cluster runs at a time."""
    labels = settings.label_selector
    deadline = time.monotonic() + (NODES_WITHIN if settings.cluster else 0.0)
    while (most := _jobs_at_a_time(there := resources(labels), settings, cpus)) < 1:
        if time.monotonic() < deadline:
            time.sleep(1)
            continue
        each = f"{cpus} CPU{'s' * (cpus > 1)} and {settings.gpus_per_job:g} GPUs"
        where = f" on nodes with {shown(labels)}" if labels else ""
        raise AutosparseError(
            f"Ray has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs{where}: too few for a job "
            f"of {each}; see --gpus-per-job, and --workers for a cluster that grows"
        )
    return min(most, settings.workers or most)


def job_count(settings: Settings, cpus: int = 1) -> int:
    """Number of jobs of ``cpus`` CPUs each to keep in flight.

    On a cluster, as many as were asked for, because waiting jobs make its autoscaler add nodes; else
    :func:`worker_count`.
    """
    return settings.workers if settings.cluster and settings.workers else worker_count(settings, cpus)


def idle_gpus(settings: Settings) -> int:
    """Number of GPUs on the nodes that jobs may go to, if no job asks for one; else 0."""
    return 0 if settings.gpus_per_job else int(resources(settings.label_selector).get("GPU", 0))


def _jobs_at_a_time(there: Mapping[str, float], settings: Settings, cpus: int) -> int:
    most = int(there.get("CPU", 0)) // cpus
    if settings.gpus_per_job:
        most = min(most, jobs_on(int(there.get("GPU", 0)), settings.gpus_per_job))
    return most


def jobs_on(gpus: int, share: float) -> int:
    """Number of jobs that ``gpus`` GPUs have room for. A share comes from one GPU: at 0.4, two fit on each."""
    if share > 1 and share % 1:
        raise AutosparseError(f"--gpus-per-job {share:g} is neither a share of one GPU nor a whole number of them")
    return gpus // int(share) if share >= 1 else gpus * int(1 / share + 1e-9)


def _require_answer(address: str) -> None:
    """Raise if nothing listens at ``[ray://]host:port``: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # Ray resolves "auto" and the like
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise AutosparseError(
            f"no Ray cluster answers at {address}: {error.strerror or error}; start one with `ray start --head`, "
            "or leave out --address for a local one"
        ) from error
