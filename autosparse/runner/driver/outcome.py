"""The outcome of a run: what is done, what has failed, and what is still to do, each with its reason."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Task
from autosparse.tracking.known import FAILED, FINISHED
from autosparse.tracking.parent import SCHEDULED

Left = list[tuple[Planned[Task], str]]
"""Tasks that are not done, and why."""


@dataclass(frozen=True)
class Outcome:
    """What became of the tasks that a run was asked for."""

    found: int
    """Number of tasks that were found finished."""
    done: int
    failed: Left = field(default_factory=list)
    """Tasks marked as failed. The next run skips them, unless told otherwise."""
    to_do: Left = field(default_factory=list)
    """Tasks that wait for others, were interrupted, or lost their workers. The next run does them."""

    @property
    def whole(self) -> bool:
        """Whether everything that was asked for is done."""
        return not self.failed and not self.to_do


def unfinished(planned: Sequence[Planned[Task]], store: Store, known: bool = True) -> list[Planned[Task]]:
    """Tasks without a whole record; ``known`` as in :meth:`Store.finished`."""
    finished = store.finished((p.task for p in planned), known)
    return [p for p in planned if p.task.id not in finished]


def ready(planned: list[Planned[Task]], store: Store, plan: Plan) -> list[Planned[Task]]:
    """Tasks whose inputs are finished."""
    done = store.finished((p.task for p in (*plan.irp, *plan.sweeps, *plan.scorers)), known=True)
    return [p for p in planned if set(p.task.inputs) <= done]


def outcome_of(
    asked: Sequence[Planned[Task]], todo: Sequence[Planned[Task]], store: Store, plan: Plan
) -> tuple[Outcome, str]:
    """The outcome of the tasks that a run was asked for, and the status of the whole experiment.

    If the run did anything, the records are looked at again, because they may have been damaged in the meantime: those
    whose files are no longer what they were, or that nobody has read yet, are read.

    :param todo: the tasks of ``asked`` that the run set out to do.
    """
    left = unfinished(asked, store, known=not todo)
    failures = store.failures(p.task for p in (*left, *_inputs(plan)))
    waits = _Waits(asked, failures.keys(), store, plan) if left else None
    failed = [(p, str(failures[p.task.id]["error"])) for p in left if p.task.id in failures]
    to_do = [(p, waits.reason(p.task)) for p in left if waits and p.task.id not in failures]
    done = len(todo) - len({p.task.id for p in todo} & {p.task.id for p in left})
    outcome = Outcome(len(asked) - done - len(left), done, failed, to_do)
    return outcome, _status(outcome, asked, store, plan)


def _status(outcome: Outcome, asked: Sequence[Planned[Task]], store: Store, plan: Plan) -> str:
    """The status of the whole experiment, including tasks that this run was not asked for."""
    ids = {p.task.id for p in asked}
    others = [p.task for p in plan.whole or plan if p.task.id not in ids]
    if outcome.failed or store.failed(others):
        return FAILED
    return FINISHED if not outcome.to_do and len(store.finished(others, known=True)) == len(others) else SCHEDULED


def _inputs(plan: Plan) -> list[Planned[Task]]:
    whole = plan.whole or plan
    return [*whole.irp, *whole.sweeps, *whole.scorers]


class _Waits:
    """Finds out what unfinished tasks wait for."""

    def __init__(self, asked: Sequence[Planned[Task]], failed: Collection[str], store: Store, plan: Plan):
        self.asked, self.failed = {p.task.id for p in asked}, failed
        self.named = {p.task.id: p for p in _inputs(plan)}
        self.done = store.finished((p.task for p in self.named.values()), known=True)

    def reason(self, task: Task) -> str:
        """Why ``task`` is not done."""
        missing = self._missing_input(task)
        return f"waits for {missing}" if missing else "interrupted, or its worker died; run again to go on"

    def _missing_input(self, task: Task) -> str:
        """The first missing input, what became of it, and the cure; empty if none is missing."""
        missing = next((task_id for task_id in task.inputs if task_id not in self.done), None)
        if missing is None:
            return ""
        if missing not in self.named:
            return f"{missing}, which is not part of this experiment"
        planned = self.named[missing]
        name = f"{planned.task.kind} {planned.label}"
        if missing in self.failed:
            return f"{name}, which failed: run again with --retry-failed"
        if deeper := self._missing_input(planned.task):
            return f"{name}, which waits for {deeper}"
        cure = "run again to go on" if missing in self.asked else "run again without --only"
        return f"{name}, which is not done: {cure}"
