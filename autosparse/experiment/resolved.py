"""The resolved specification of a task: every value that determines its result, the defaults written out.

An id is a hash of what differs from the defaults, so that a new option orphans no result. But if a default changed, old
results would pass for today's. So a record holds the resolved specification, too, and counts only for a task that
resolves to the same. What it lacks did not exist yet, see :mod:`autosparse.experiment.before_resolved`.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from autosparse.criteria import CRITERIA
from autosparse.experiment.before_resolved import UNPRUNED, filled, prunable_rule
from autosparse.experiment.tasks import Cell, IrpTask, ScorerTask, Task
from autosparse.weights import RULE


class Difference(NamedTuple):
    """A value that is not what it was."""

    name: str
    """With dots, such as ``recipe.lr``."""
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} {self.then} -> {self.now}"


def resolve(task: Task) -> dict[str, Any]:
    """Every field of the task, and of each criterion in it every option and the revision, as JSON values.

    What the runner gives a criterion (:attr:`Criterion.given`) is not among its options: it follows from the task.
    """
    values = task.model_dump(mode="json")
    if isinstance(task, Cell | IrpTask):
        values |= _criterion(task.criterion, values["options"])
        values["prunable_rule"] = RULE
    if isinstance(task, Cell) and task.irp is not None:
        values["irp"] |= _criterion(task.irp.criterion, values["irp"]["options"])
    if isinstance(task, ScorerTask) and task.sweep is not None:
        del values["fit"]  # the winner's, whatever it is
    return values


def _criterion(name: str, options: dict[str, Any]) -> dict[str, Any]:
    if name in UNPRUNED or not (chosen := CRITERIA[name]).imported:
        return {}  # a criterion is not imported if its plugin is withheld, in a dry run: records are trusted
    defaults = {option: _plain(value) for option, value in chosen.defaults.items() if option not in chosen.given}
    return {"options": {**defaults, **options}, "criterion_revision": chosen.revision}


def _plain(value: Any) -> Any:
    """A default as a JSON value; if there is none, as for a function, the name of its type."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value) if isinstance(value, float) else type(value).__name__


def resolved_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the task of a record was when the record was written, whatever the defaults are today."""
    found = filled(record["kind"], record.get("resolved") or record["spec"])
    layers = record.get("result", {}).get("density_by_layer")
    return found if layers is None else {"prunable_rule": prunable_rule(layers), **found}


def differences(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[Difference]:
    """The values that are not what they were.

    A value that only one of the two has is not a difference: a new one does what was done before it existed, and one
    that is gone does not concern today's task.
    """
    for name, value in now.items():
        before = then.get(name, value)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            yield from differences(before, value, f"{prefix}{name}.")
        elif before != value:
            yield Difference(prefix + name, before, value)
