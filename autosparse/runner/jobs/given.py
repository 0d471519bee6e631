"""What the driver needs for a stage, and what it gives to every worker. Ray's object store holds the latter once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autosparse.experiment.record import Json, Record
from autosparse.experiment.store import Store
from autosparse.plugins import NO_PLUGINS, Plugins
from autosparse.runner.jobs.arrays import Arrays
from autosparse.runner.screen.tally import Event
from autosparse.runner.settings import CHECKPOINT_EVERY, Settings
from autosparse.training import Execution


@dataclass(frozen=True)
class Means:
    """What the driver needs for the work of a stage or a sweep."""

    store: Store
    settings: Settings
    on_event: Callable[[Event], None]
    """Takes in the reports of jobs, and what the driver notices of them."""
    datasets: Mapping[str, Arrays] = field(default_factory=dict)
    """The data sets by name."""
    environment: Json = field(default_factory=dict)
    """The part of the environment that all workers share."""
    plugins: Plugins = NO_PLUGINS

    @property
    def given(self) -> dict[str, Any]:
        """The fields of :class:`Given`."""
        return {
            "storage": self.store.place.address,
            "identity": self.store.identity,
            "environment": self.environment,
            "execution": self.settings.execution,
            "plugins": self.plugins,
            "retries": self.settings.retries,
        }


@dataclass(frozen=True, kw_only=True)
class Given:
    """What every kind of work needs."""

    storage: str
    """Address of the storage."""
    identity: str
    """See :attr:`autosparse.experiment.store.Store.identity`."""
    environment: Json = field(default_factory=dict)
    """See :class:`Means`."""
    execution: Execution = field(default_factory=Execution)
    plugins: Plugins = NO_PLUGINS
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
    """Least seconds between the checkpoints of a cell, or within an iteration of IRP."""
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
