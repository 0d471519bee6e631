"""Records that no longer stand for their tasks: finding them, and moving them out of the way."""

from collections.abc import Collection, Iterable

from autosparse.experiment.gathering import loosen
from autosparse.experiment.lineage import Changed
from autosparse.experiment.record import Record
from autosparse.experiment.records import SUPERSEDED, WITH_FILES, name_of
from autosparse.experiment.sources import code_of
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, FitSpec, ScorerTask, Task
from autosparse.files import pack_record


def changed_records(tasks: Iterable[Task], store: Store) -> dict[str, Changed]:
    """Why the records of some tasks no longer stand for them, by the tasks' ids; without those that still do."""
    tasks, lineage = list(tasks), store.lineage()
    there = store.there(tasks)

    def look(task: Task) -> Changed | None:
        found = store.written(task.kind, task.id)
        return lineage.changed(task, found) if found else None

    return store.each(look, [task for task in tasks if task.id in there])


def set_aside(task: Task, store: Store, others: Collection[str] = ()) -> None:
    """Move the record of a task, and its files, to ``superseded/``; do nothing if there is none.

    For a sweep, also move those of its trials, unless they still stand for their tasks and are of today's code.

    :param others: ids of tasks that are about to be set aside, too; what is built on another comes first.
    """
    found = store.written(task.kind, task.id)
    if found is None:
        return
    if isinstance(task, Cell):
        loosen(store, [task.id])
    if isinstance(task, SweepTask):
        for trial in found["result"].get("trials", ()):
            fit = ScorerTask.on(task.irp, FitSpec.model_validate(trial["fit"], strict=False), task.dataset)
            held = store.record(fit)
            if held is None or code_has_changed(fit, held) or not set(others).isdisjoint(task.irp):
                set_aside(fit, store)
    name = name_of(task.kind, task.id)
    aside = f"{SUPERSEDED}/{name}-{found['ended_ms']}"
    store.place.write(f"{aside}.json", pack_record(found))
    if task.kind in WITH_FILES:
        store.place.move(name, aside)
    store.place.remove(f"{name}.json")  # last: until then all of this can be repeated
    store.forget(task)


def code_has_changed(task: Task, record: Record) -> bool:
    """Whether the user's code for a task has changed since its record.

    Code that the record does not name did not exist, or did not count, then.
    """
    now = code_of(task)
    return any(now.get(key, digest) != digest for key, digest in record.get("code", {}).items())
