"""Whether a record still stands for its task: the same values, built on the same inputs.

Each record holds the fingerprints of the records that it was built on, and those hold theirs. So if an IRP run is done
again with other values, data or code, a scorer that learned from it no longer counts as finished, nor does a cell that
the scorer pruned. A run that is done again in the same way counts as the same, even if another machine rounded
differently.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from autosparse.errors import AutosparseError
from autosparse.experiment.record import Record
from autosparse.experiment.resolved import Difference, differences, resolve, resolved_of
from autosparse.experiment.space import SweepTask
from autosparse.experiment.tasks import Task, task_from
from autosparse.files import content_id

Read = Callable[[str, str], Record | None]
"""Takes a kind and an id and returns their record, or None if there is none."""


def fingerprint(record: Record) -> str:
    """16 hex digits over what made a result: its values, data, code, and what it was built on.

    It depends on the record alone, so that it is the same in every later version.
    """
    data = record.get("result", {}).get("dataset_fingerprint")
    if "resolved" not in record:
        return content_id({"kind": record["kind"], "spec": record["spec"], "data": data})
    made = {name: record.get(name, {}) for name in ("resolved", "code", "built_on")}
    return content_id({"kind": record["kind"], "data": data, **made})


class Made(NamedTuple):
    """What made a result."""

    fingerprint: str
    """See :func:`fingerprint`."""
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
    """Why a record no longer stands for its task; falsy if it still does."""

    values: tuple[Difference, ...] = ()
    inputs: tuple[str, ...] = ()
    """Ids of the tasks that it was built on and that are no longer the same."""

    def __bool__(self) -> bool:
        return bool(self.values or self.inputs)


@dataclass(frozen=True)
class _Input:
    fingerprint: str
    complete: bool
    """Whether its record holds everything that made it; those of version 0.1.0 do not."""
    stands: bool


class Lineage:
    """Compares records with their tasks at one moment: it reads each input only once."""

    def __init__(self, read: Read):
        self.read = read
        self._inputs: dict[tuple[str, str], _Input | None] = {}

    def changed(self, task: Task, record: Record) -> Changed:
        """Why the record of ``task`` no longer stands for it; falsy if it still does."""
        values = tuple(differences(resolved_of(record), resolve(task)))
        return Changed(values, self.fallen(task, record.get("built_on")))

    def fallen(self, task: Task, built_on: Mapping[str, str] | None) -> tuple[str, ...]:
        """Ids of the inputs of ``task`` that are no longer what its record was built on.

        :param built_on: that of its record; None if the record has none, as in version 0.1.0.
        """
        return tuple(task_id for task_id, kind in task.inputs.items() if not self._stands(built_on, kind, task_id))

    def built_on(self, task: Task) -> dict[str, str]:
        """The fingerprint of the record of each input, by its id."""
        found = {task_id: self._input(kind, task_id) for task_id, kind in task.inputs.items()}
        return {task_id: known.fingerprint for task_id, known in found.items() if known}

    def ground(self, task: Task) -> dict[str, str]:
        """What a record of ``task`` stands on: :meth:`built_on`, with an empty text for an input that has fallen."""
        found = {task_id: self._input(kind, task_id) for task_id, kind in task.inputs.items()}
        return {task_id: known.fingerprint if known.stands else "" for task_id, known in found.items() if known}

    def _stands(self, built_on: Mapping[str, str] | None, kind: str, task_id: str) -> bool:
        """Whether an input is what a record was built on; assumed if the input is gone."""
        found = self._input(kind, task_id)
        if found is None:
            return True
        if built_on is None:  # of version 0.1.0, so its input must be, too
            return found.stands and not found.complete
        return found.stands and built_on.get(task_id, found.fingerprint) == found.fingerprint

    def _input(self, kind: str, task_id: str) -> _Input | None:
        if (kind, task_id) not in self._inputs:
            self._inputs[kind, task_id] = self._read_input(kind, task_id)
        return self._inputs[kind, task_id]

    def _read_input(self, kind: str, task_id: str) -> _Input | None:
        record = self.read(kind, task_id)
        if record is None:
            return None
        spec = record["spec"]
        try:  # with today's defaults
            task = SweepTask.model_validate(spec, strict=False) if kind == SweepTask.kind else task_from(kind, spec)
            stands = not self.changed(task, record)
        except (AutosparseError, ValidationError):  # its spec is no longer that of a task
            stands = True
        return _Input(fingerprint(record), "resolved" in record, stands)
