"""Settings of where and how work runs. They are part of no id, because they must not change a result."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autosparse.errors import AutosparseError
from autosparse.runner.nodes import labels_from
from autosparse.training import Execution

PATIENCE_VARIABLE = "AUTOSPARSE_PATIENCE"
"""Environment variable: seconds without a sign of life after which a worker is ended; 0: never."""
PATIENCE = 900.0
"""Seconds if the variable is not set."""
CHECKPOINT_VARIABLE = "AUTOSPARSE_CHECKPOINT_EVERY"
"""Environment variable: least seconds between checkpoints of a cell; 0: one after each epoch; inf: none."""
CHECKPOINT_EVERY = 300.0
"""Seconds if the variable is not set, so that short cells write none."""


def seconds_from(variable: str, default: float, otherwise: str) -> float:
    """The seconds in an environment variable, or ``default`` if it is empty or not set.

    :param otherwise: what else to set, for the message.
    :raises AutosparseError: if it holds no number, or one below 0.
    """
    given = os.environ.get(variable, "")
    try:
        seconds = float(given or default)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise AutosparseError(f"{variable}={given!r} is not a number of seconds: set one, or {otherwise}")
    return seconds


@dataclass(frozen=True)
class Settings:
    """Paths, addresses and resources of one invocation."""

    storage: str | Path = "results"
    """Records and files of finished work: a folder, or a prefix in an object store."""
    tracking_uri: str | None = None
    """MLflow server or store; None: ``MLFLOW_TRACKING_URI``, else SQLite in the working folder."""
    data_root: Path | None = None
    download: bool = False
    address: str | None = None
    """Address of a running Ray cluster; None: ``RAY_ADDRESS``, else a local one that ends with the command."""
    workers: int | None = None
    """Jobs at a time; None: as many as the cluster's CPUs (or GPUs) allow."""
    gpus_per_job: float = 0.0
    """A share of one GPU, such as 0.25 for four jobs on it, or a whole number."""
    label_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels that a node must have for jobs to go there, as ``ray start --labels`` gave them; none: any node."""
    retries: int = 1
    """How often to retry a task whose failure may be temporary, before it is marked as failed."""
    retry_failed: bool = False
    """Whether to retry tasks that an earlier run marked as failed."""
    execution: Execution = field(default_factory=Execution)
    redo_changed: bool = False
    """Whether to redo results if their data, or the user's code behind them, have changed since."""
    rehearsal: bool = False
    """Whether to try models, data sets and criteria on one batch before Ray starts."""
    patience: float = field(default_factory=lambda: seconds_from(PATIENCE_VARIABLE, PATIENCE, "0 to wait for ever"))
    """Seconds without a sign of life after which a worker is ended; 0: never."""
    checkpoint_every: float = field(
        default_factory=lambda: seconds_from(CHECKPOINT_VARIABLE, CHECKPOINT_EVERY, "inf for no checkpoints")
    )
    """Least seconds between the checkpoints of a cell, or within an iteration of IRP."""

    def __post_init__(self) -> None:
        labels_from(f"{key}={value}" for key, value in self.label_selector.items())
        for name, kind, least in (("workers", int, 1), ("retries", int, 0), ("gpus_per_job", int | float, 0)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, kind) and value >= least):
                what = "a whole number" if kind is int else "a number"
                raise AutosparseError(f"{name} must be {what} of at least {least}, got {value!r}")

    @property
    def cluster(self) -> str | None:
        """Address of the running Ray cluster to connect to; None: a local Ray is started."""
        return self.address or os.environ.get("RAY_ADDRESS") or None

    @property
    def placement(self) -> dict[str, Any]:
        """Options of Ray's tasks and actors that put them on the nodes with these labels; empty: on any node."""
        return {"label_selector": dict(self.label_selector)} if self.label_selector else {}
