"""What the driver gives to every worker of a stage; Ray's object store holds it once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autosparse.experiment.record import Json, Record
from autosparse.experiment.store import Store
from autosparse.plugins import Plugins
from autosparse.runner.jobs.arrays import Arrays
from autosparse.runner.settings import CHECKPOINT_EVERY
from autosparse.training import Execution


@dataclass(frozen=True, kw_only=True)
class Given:
    """What every kind of work needs."""

    storage: str
    """Address of the storage."""
    identity: str
    """See :attr:`autosparse.experiment.store.Store.identity`."""
    environment: Json = field(default_factory=dict)
    """The part of the environment that all workers share."""
    execution: Execution = field(default_factory=Execution)
    plugins: Plugins = field(default_factory=Plugins)
    """What to import first."""
    retries: int = 0

    def store(self) -> Store:
        """Import the plugins and open the storage.

        :raises CannotWrite: if this node has another storage at its address.
        """
        self.plugins.load()
        store = Store(self.storage, gathered=False)
        store.require(self.identity)
        return store


@dataclass(frozen=True, kw_only=True)
class GivenJobs(Given):
    """What jobs of tasks need."""

    jobs: Sequence[Sequence[tuple[str, dict[str, Any]]]] = ()
    """The kind and specification of each job's tasks."""
    datasets: Mapping[str, Arrays] = field(default_factory=dict)
    """The data sets by name."""
    checkpoint_every: float = CHECKPOINT_EVERY
    """Least seconds between the checkpoints of a cell."""
    side_by_side: int = 1
    """Number of jobs that run at a time."""
    failures: Mapping[str, Record] = field(default_factory=dict)
    """Failures from before the stage, by task id. They do not keep a job from trying the task again."""


@dataclass(frozen=True, kw_only=True)
class GivenSweep(Given):
    """What the trials of a sweep need."""

    sweep: dict[str, Any]
    """The sweep's specification."""
    dataset: Arrays | None = None
