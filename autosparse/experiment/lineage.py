"""Whether a record still stands for its task: the same values, built on the same.

Each record holds the fingerprints of the records that it was built on. Those hold theirs, so that a scorer does not
pass as finished where an IRP run that it learned from was done again, otherwise; nor does a cell that it pruned.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from autosparse.errors import AutosparseError
from autosparse.experiment.record import Record
from autosparse.experiment.resolved import Difference, differences, resolve, resolved_of
from autosparse.experiment.space import SweepTask
from autosparse.experiment.tasks import TASKS, Cell, ScorerTask, Task
from autosparse.files import content_id

Read = Callable[[str, str], Record | None]
"""Takes a kind and an id, and gives their record, or None if there is none."""


def inputs_of(task: Task) -> Iterator[tuple[str, str]]:
    """Kind and id of each task that ``task`` builds on."""
    of_scorer = isinstance(task, ScorerTask) and task.sweep is not None
    for task_id in task.inputs:
        scorer = isinstance(task, Cell) and task_id == task.scorer
        yield "scorer" if scorer else "sweep" if of_scorer else "irp", task_id


def fingerprint(record: Record) -> str:
    """16 hex digits over what made a result: its values, data, code, and what it was built on.

    It follows from what stands in the record alone, so that it is the same for every later version.
    """
    data = record.get("result", {}).get("dataset_fingerprint")
    if "resolved" not in record:
        return content_id({"kind": record["kind"], "spec": record["spec"], "data": data})
    made = {name: record.get(name, {}) for name in ("resolved", "code", "built_on")}
    return content_id({"kind": record["kind"], "data": data, **made})


class Made(NamedTuple):
    """What made a result."""

    fingerprint: str
    """The fingerprint of all that did; see :func:`fingerprint`."""
    data: str
    """The data set's fingerprint; empty if there was none, or the record does not say."""
    code: dict[str, str]
    """Fingerprints of the user's own code, by its key."""


def made_by(record: Record) -> Made:
    """What made the result of a record."""
    data = record.get("result", {}).get("dataset_fingerprint")
    return Made(fingerprint(record), str(data or ""), dict(record.get("code", {})))


@dataclass(frozen=True)
class Changed:
    """Why a record does not stand for its task any more; true if it does not."""

    values: tuple[Difference, ...] = ()
    inputs: tuple[str, ...] = ()
    """Ids of what it was built on and what is not the same any more."""

    def __bool__(self) -> bool:
        return bool(self.values or self.inputs)


@dataclass(frozen=True)
class _Input:
    fingerprint: str
    told: bool
    """Whether its record says all that made it: not so in version 0.1.0."""
    stands: bool


class Lineage:
    """Looks at records one after the other; what many build on is read once, so that it is for one moment."""

    def __init__(self, read: Read):
        self.read = read
        self._inputs: dict[tuple[str, str], _Input | None] = {}

    def changed(self, task: Task, record: Record) -> Changed:
        """Why the record of ``task`` does not stand for it any more, if so."""
        values = tuple(differences(resolved_of(record), resolve(task)))
        return Changed(
            values, tuple(task_id for kind, task_id in inputs_of(task) if not self._stands(record, kind, task_id))
        )

    def built_on(self, task: Task) -> dict[str, str]:
        """The fingerprint of the record of each input, by its id."""
        return {
            task_id: found.fingerprint for kind, task_id in inputs_of(task) if (found := self._input(kind, task_id))
        }

    def _stands(self, record: Record, kind: str, task_id: str) -> bool:
        """Whether an input is what it was for ``record``; nobody can tell where it is gone."""
        found = self._input(kind, task_id)
        if found is None:
            return True
        if "built_on" not in record:  # of version 0.1.0, as its input must then be
            return found.stands and not found.told
        return found.stands and record["built_on"].get(task_id, found.fingerprint) == found.fingerprint

    def _input(self, kind: str, task_id: str) -> _Input | None:
        if (kind, task_id) not in self._inputs:
            self._inputs[kind, task_id] = self._looked_up(kind, task_id)
        return self._inputs[kind, task_id]

    def _looked_up(self, kind: str, task_id: str) -> _Input | None:
        record = self.read(kind, task_id)
        if record is None:
            return None
        try:
            stands = not self.changed(task_of(record), record)
        except (AutosparseError, ValidationError):  # of no task of today's
            stands = True
        return _Input(fingerprint(record), "resolved" in record, stands)


def task_of(record: Record) -> Task:
    """The task of a record, as it is today."""
    kinds: dict[str, type[Task]] = {**TASKS, SweepTask.kind: SweepTask}
    return kinds[record["kind"]].model_validate(record["spec"], strict=False)
