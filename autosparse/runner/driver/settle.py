"""Settle what is to be done of a plan: tasks without results, and tasks whose results are out of date."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from autosparse.data import load_dataset
from autosparse.data.split import Dataset
from autosparse.errors import DataError
from autosparse.experiment.gathering import loosen
from autosparse.experiment.plan import Plan, dataset_of
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import set_aside
from autosparse.experiment.tasks import Task
from autosparse.runner.driver.changed import (
    KEPT,
    names_to_look_at,
    of_other_code,
    of_other_data,
    of_other_values,
    refused_data,
    told_code,
    with_dependents,
)
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.tracking.log import Tracker

Tasks = Sequence[Planned[Task]]


@dataclass
class Settled:
    """The tasks to do, and the data sets that they need."""

    todo: list[Planned[Task]]
    pending: set[str]
    """Ids of ``todo``, and of what builds on it and may have to be done again after it."""
    datasets: dict[str, Dataset] = field(default_factory=dict)


def settle(
    plan: Plan,
    asked: Tasks,
    finished: Collection[str],
    store: Store,
    tracker: Tracker,
    settings: Settings,
    screen: Screen,
) -> Settled:
    """Check the results that are found of ``plan``, and set aside those to be done again. No task is done yet.

    :param asked: the tasks of the stages that are to be done.
    :param finished: ids of all tasks of the plan that are finished.
    :raises DataError: if results come from other data than those that are loaded, unless the settings say to redo them.
    """
    missing = [p for p in asked if p.task.id not in finished]
    stale, line = of_other_values(missing, store, {p.task.id for p in asked})
    if stale:
        screen.say(line)
        put_aside([p for p in plan if p.task.id in stale], store, tracker, screen)
    found = [p for p in plan if p.task.id in finished]
    failed = set() if settings.retry_failed else store.failed(p.task for p in missing)
    todo = {p.task.id for p in missing} - failed
    settled = Settled([], with_dependents(todo, asked))
    gone = _of_other_code(found, store, settings, screen)
    gone = _of_other_data(asked, found, gone, store, settings, screen, settled)
    put_aside([p for p in plan if p.task.id in gone], store, tracker, screen)
    todo |= gone
    settled.todo = [p for p in asked if p.task.id in todo]
    settled.pending -= failed
    return settled


def superseded(wanted: Tasks, todo: Tasks, store: Store, tracker: Tracker, screen: Screen) -> list[Planned[Task]]:
    """Set aside results that were found finished, if what they build on was done again and came out different.

    Returns their tasks, which have to be done as well.
    """
    known = {p.task.id for p in todo}
    stale, line = of_other_values([p for p in wanted if p.task.id not in known], store)
    found = [p for p in wanted if p.task.id in stale]
    if found:
        screen.say(line)
        put_aside(found, store, tracker, screen)
    return found


def put_aside(planned: Tasks, store: Store, tracker: Tracker, screen: Screen) -> None:
    """Delete results from MLflow, where a deleted run can be restored, and then set their files aside.

    :param planned: each after the tasks that it builds on.
    """
    ids = {p.task.id for p in planned}
    if ids:
        screen.guard(lambda: tracker.forget(ids))  # a run that stays there is replaced when its task is done again
    loosen(store, ids)  # all at once: each segment is written anew
    for p in reversed(planned):  # so that nothing builds on a missing result if the process ends halfway
        set_aside(p.task, store, ids)


def _of_other_code(found: Tasks, store: Store, settings: Settings, screen: Screen) -> set[str]:
    gone: set[str] = set()
    for function, planned in of_other_code(found, store).items():
        (screen.say if settings.redo_changed else screen.warn)(told_code(function, len(planned), settings.redo_changed))
        gone |= {p.task.id for p in planned} if settings.redo_changed else set()
    return gone


def _of_other_data(
    asked: Tasks, found: Tasks, gone: set[str], store: Store, settings: Settings, screen: Screen, settled: Settled
) -> set[str]:
    """Load the data that are needed, and compare; returns ``gone`` and what else is to be done again."""
    optional = names_to_look_at(found)
    while True:
        gone = with_dependents(gone, [*found, *asked])
        settled.pending = with_dependents(settled.pending | gone, asked)
        needed = {name for p in asked if p.task.id in settled.pending and (name := dataset_of(p.task))}
        _load(needed, optional, settings, screen, settled)
        others = of_other_data([p for p in found if p.task.id not in gone], store, settled.datasets)
        before = len(gone)
        for name, by_data in others:
            here = _here(name, settings, screen, settled)
            if settings.redo_changed and here:
                stale = {p.task.id for data, planned in by_data.items() if data != here for p in planned}
                screen.say(f"{len(stale)} found results are of other data than {name!r} is today: done again; {KEPT}")
                gone |= stale
            elif name in needed or len(by_data) > 1 or not here:
                raise refused_data(name, by_data, here)
            else:
                screen.warn(str(refused_data(name, by_data, here)))
        if len(gone) == before:
            return gone


def _load(
    needed: Collection[str], optional: Collection[str], settings: Settings, screen: Screen, settled: Settled
) -> None:
    for name in sorted({*needed, *optional} - settled.datasets.keys()):
        screen.say(f"loading {name}")
        try:
            settled.datasets[name] = load_dataset(name, settings.data_root, download=settings.download)
        except DataError:
            if name in needed:
                raise


def _here(name: str, settings: Settings, screen: Screen, settled: Settled) -> str:
    """The fingerprint of the data that can be loaded under a name; empty if there are none."""
    if name not in settled.datasets:
        _load([], [name], settings, screen, settled)
    return settled.datasets[name].fingerprint if name in settled.datasets else ""
