"""Look for damage: what is lost, doubled or wrong since the last look."""

from dataclasses import dataclass

from faults.experiment import Experiment
from faults.ledger import Ledger


@dataclass
class Damage:
    """The damage that one kind of fault did."""

    injected: int = 0
    lost: int = 0
    """Finished tasks, or iterations of an IRP run, that have gone."""
    doubled: int = 0
    """Second runs of a task in MLflow."""
    wrong: int = 0
    """Results that differ from the undisturbed run's, and undocumented exit codes."""

    @property
    def clean(self) -> bool:
        """Whether there is none."""
        return self.lost == self.doubled == self.wrong == 0


class Inspector:
    """Compares an experiment with what it had at the last look."""

    def __init__(self, experiment: Experiment):
        self.experiment = experiment
        self.ledger = Ledger(experiment.folder / "mlflow" / "server.db")
        self.finished: set[str] = set()
        self.steps: dict[str, int] = {}
        self.doubled = 0

    def look(self, blamed: Damage) -> None:
        """Add what is newly lost, doubled or wrong to ``blamed``."""
        steps = self.experiment.steps()
        finished = self.experiment.finished()  # after the steps, which go when a run has finished
        doubled = sum(self.ledger.doubled_runs().values())
        blamed.lost += len(self.finished - finished)
        blamed.lost += sum(steps.get(task, 0) < step for task, step in self.steps.items() if task not in finished)
        blamed.wrong += sum(map(self.experiment.differs, finished - self.finished))
        blamed.doubled += max(0, doubled - self.doubled)
        self.finished, self.steps, self.doubled = finished, steps, doubled

    def forgive_record(self, task: str) -> None:
        """Do not count the record of a task as lost: it was damaged on purpose."""
        self.finished.discard(task)

    def forgive_checkpoint(self, task: str) -> None:
        """Count iterations of an IRP run as lost only from where it is now: a checkpoint was damaged on purpose."""
        self.steps[task] = self.experiment.steps().get(task, 0)
