"""Settle what is to be done of a plan: tasks without results, and tasks whose results are out of date."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from autosparse.data import load_dataset
from autosparse.data.split import Dataset
from autosparse.errors import DataError
from autosparse.experiment.gathering import loosen
from autosparse.experiment.plan import Plan, dataset_of
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import changed_records, set_aside
from autosparse.experiment.tasks import Task
from autosparse.runner.driver.changed import (
    Tasks,
    done_again,
    names_to_look_at,
    of_other_code,
    of_other_data,
    refused_data,
    stored,
    told,
    told_code,
    with_dependents,
)
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.tracking.log import Tracker


@dataclass(frozen=True)
class Context:
    """What a run works with from its first step to its last."""

    plan: Plan
    store: Store
    tracker: Tracker
    settings: Settings
    screen: Screen
    started_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    """When the run began, in milliseconds since 1970."""


@dataclass
class Settled:
    """The tasks to do, and the data sets that they need."""

    todo: list[Planned[Task]]
    pending: set[str]
    """Ids of ``todo``, and of what builds on it and may have to be done again after it."""
    datasets: dict[str, Dataset] = field(default_factory=dict)


def settle(context: Context, asked: Tasks, finished: Collection[str]) -> Settled:
    """Check the results that are found of the plan, and set aside those to be done again. No task is done yet.

    :param asked: the tasks of the stages that are to be done.
    :param finished: ids of all tasks of the plan that are finished.
    :raises DataError: if results come from other data than those that are loaded, unless the settings say to redo them.
    """
    plan, store = context.plan, context.store
    missing = [p for p in asked if p.task.id not in finished]
    _put_aside_changed(context, missing, {p.task.id for p in asked})
    found = [p for p in plan if p.task.id in finished]
    failed = set() if context.settings.retry_failed else store.failed(p.task for p in missing)
    todo = {p.task.id for p in missing} - failed
    settled = Settled([], with_dependents(todo, asked))
    gone = _of_other_data(context, asked, found, _of_other_code(context, found), settled)
    put_aside(context, [p for p in plan if p.task.id in gone])
    todo |= gone
    settled.todo = [p for p in asked if p.task.id in todo]
    settled.pending -= failed
    return settled


def superseded(context: Context, wanted: Tasks, todo: Tasks) -> list[Planned[Task]]:
    """Set aside results that were found finished, if what they build on was done again and came out different.

    Returns their tasks, which have to be done as well.
    """
    known = {p.task.id for p in todo}
    return _put_aside_changed(context, [p for p in wanted if p.task.id not in known])


def _put_aside_changed(context: Context, tasks: Tasks, asked: set[str] | None = None) -> list[Planned[Task]]:
    """Set aside results of other values than today's, or built on such results; returns their tasks.

    :param asked: leave out tasks that build on a changed one outside these ids, because that one has to be done first.
    """
    found = changed_records((p.task for p in tasks), context.store)
    changes = {task_id: c for task_id, c in found.items() if asked is None or asked.issuperset(c.inputs)}
    stale = [p for p in tasks if p.task.id in changes]
    if stale:
        context.screen.say(told(changes.values()))
        put_aside(context, stale)
    return stale


def put_aside(context: Context, planned: Tasks) -> None:
    """Delete results from MLflow, where a deleted run can be restored, and then set their files aside.

    :param planned: each after the tasks that it builds on.
    """
    ids = {p.task.id for p in planned}
    if ids:  # a run that stays in MLflow is replaced when its task is done again
        context.screen.guard(lambda: context.tracker.forget(ids))
    loosen(context.store, ids)  # all at once: each segment is written anew
    for p in reversed(planned):  # so that nothing builds on a missing result if the process ends halfway
        set_aside(p.task, context.store, ids)


def _of_other_code(context: Context, found: Tasks) -> set[str]:
    """Tell which of the user's functions have changed; returns the ids of the tasks to be done again for that."""
    redo, gone = context.settings.redo_changed, set[str]()
    for function, planned in of_other_code(found, context.store).items():
        (context.screen.say if redo else context.screen.warn)(told_code(function, len(planned), redo))
        gone |= {p.task.id for p in planned} if redo else set()
    return gone


def _of_other_data(context: Context, asked: Tasks, found: Tasks, gone: set[str], settled: Settled) -> set[str]:
    """Load the data that are needed, and compare; returns ``gone`` and what else is to be done again."""
    screen = context.screen
    optional = names_to_look_at(found)
    while True:
        gone = with_dependents(gone, [*found, *asked])
        settled.pending = with_dependents(settled.pending | gone, asked)
        needed = {name for p in asked if p.task.id in settled.pending and (name := dataset_of(p.task))}
        _load(context, needed, optional, settled)
        others = of_other_data([p for p in found if p.task.id not in gone], context.store, settled.datasets)
        before = len(gone)
        for name, by_data in others:
            _load(context, [], [name], settled)
            here = settled.datasets[name].fingerprint if name in settled.datasets else ""
            if context.settings.redo_changed and here:
                stale = {p.task.id for data, planned in by_data.items() if data != here for p in planned}
                said = f"{stored(len(stale))} used another version of dataset {name!r}"
                screen.say(f"{said}: {done_again(len(stale))}")
                gone |= stale
            elif name in needed or len(by_data) > 1 or not here:
                raise refused_data(name, by_data, here)
            else:
                screen.warn(str(refused_data(name, by_data, here)))
        if len(gone) == before:
            return gone


def _load(context: Context, needed: Collection[str], optional: Collection[str], settled: Settled) -> None:
    """Load the data sets that are not loaded yet; an optional one may be missing."""
    settings = context.settings
    for name in sorted({*needed, *optional} - settled.datasets.keys()):
        context.screen.say(f"loading {name}")
        try:
            settled.datasets[name] = load_dataset(name, settings.data_root, download=settings.download)
        except DataError:
            if name in needed:
                raise
