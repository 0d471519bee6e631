"""Find results that come from other values, data or code than today's, and say what happens to them."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from autosparse.data import source_of
from autosparse.data.split import Dataset
from autosparse.errors import DataError
from autosparse.experiment.lineage import Changed
from autosparse.experiment.plan import dataset_of
from autosparse.experiment.planned import Planned
from autosparse.experiment.sources import OURS, Function, functions_of, look_again, source_fingerprint
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Task

Tasks = Sequence[Planned[Task]]
SHOWN = 5
"""Most values that a line names."""
KEPT = "the old ones are kept in superseded/"
REDO = "--redo-changed"

T = TypeVar("T")


def stored(count: int) -> str:
    """``1 stored result`` or ``3 stored results``."""
    return f"{count} stored result{'' if count == 1 else 's'}"


def done_again(count: int) -> str:
    """What happens to so many results, and to what they replace."""
    return f"{'it is' if count == 1 else 'they are'} done again; {KEPT}"


def told(changes: Collection[Changed]) -> str:
    """What has changed, in one line."""
    values = Counter(str(difference) for changed in changes for difference in changed.values)
    shown = [value for value, _ in values.most_common(SHOWN)]
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    parts = []
    if count := sum(bool(changed.values) for changed in changes):
        parts.append(f"{stored(count)} used other values than today's ({', '.join(shown)}{more})")
    if count := sum(not changed.values for changed in changes):
        parts.append(f"{count} {'builds' if count == 1 else 'build'} on what has changed")
    return f"{', '.join(parts)}: {done_again(len(changes))}"


def with_dependents(ids: Collection[str], tasks: Tasks) -> set[str]:
    """The ids, and those of all tasks that build on them, directly or not.

    :param tasks: each after the tasks that it builds on.
    """
    found = set(ids)
    for p in tasks:
        if not found.isdisjoint(p.task.inputs):
            found.add(p.task.id)
    return found


def names_to_look_at(found: Tasks) -> set[str]:
    """Names of the data sets that are worth checking even if all their results are found.

    Those are the user's own, from a folder in the name or from a plugin. The data sets that we ship a name for are
    published and do not change.
    """
    names = {name for p in found if (name := dataset_of(p.task))}
    loaders = {name: source_of(name) for name in names}
    return {n for n, loader in loaders.items() if loader.argument or loader.load.__module__.partition(".")[0] != OURS}


ByData = dict[str, list[Planned[Task]]]
"""Results by the fingerprint of their data."""


def of_other_data(found: Tasks, store: Store, loaded: Mapping[str, Dataset]) -> Iterator[tuple[str, ByData]]:
    """Yield the data sets whose results come from other data than the loaded ones, and these results.

    A data set that is not loaded counts if its results come from several versions of it.
    """
    for name, planned in _grouped((dataset_of(p.task), p) for p in found).items():
        by_data = _grouped((made.data if (made := store.made(p.task)) else None, p) for p in planned)
        here = loaded[name].fingerprint if name in loaded else ""
        others = {data: tasks for data, tasks in by_data.items() if data and data != here}
        if len(others) > (0 if name in loaded else 1):
            yield name, others


def refused_data(name: str, others: ByData, here: str) -> DataError:
    """The error for results of several versions of a data set under one name.

    :param here: fingerprint of the loaded data; empty if there are none.
    """
    counts = [f"{len(tasks)} of {data}" for data, tasks in others.items()]
    if not here:
        return DataError(
            f"dataset {name!r}: the stored results come from different data ({', '.join(counts)}) and must not be "
            f"averaged; provide the data that you mean, and run with {REDO} to redo the others ({KEPT})"
        )
    count = sum(map(len, others.values()))
    return DataError(
        f"dataset {name!r} has changed: {stored(count)} used data with fingerprint {', '.join(others)}; the "
        f"data here have {here}. Use {REDO} to redo what is old ({KEPT}), or name the dataset {name}@{here} to keep "
        "new results apart"
    )


def of_other_code(found: Tasks, store: Store) -> dict[Function, list[Planned[Task]]]:
    """Results made with the user's code before it changed, by the function that has changed."""
    stale: dict[Function, list[Planned[Task]]] = {}
    look_again()
    for p in found:
        for function in functions_of(p.task):
            made = store.made(p.task)
            before = made.code.get(function.key) if made else None
            if before and before != source_fingerprint(function.module):
                stale.setdefault(function, []).append(p)
    return stale


def told_code(function: Function, count: int, redo: bool) -> str:
    """What has changed and what follows, in one line."""
    was = "1 result was" if count == 1 else f"{count} results were"
    what = f"{function.role} {function.name!r} ({function.file}), or what it imports"
    changed = f"{what}, has changed since {was} stored"
    if redo:
        return f"{changed}: {done_again(count)}"
    return f"{changed}: do not average old and new; use {REDO} to redo what is old"


def _grouped(pairs: Iterator[tuple[T | None, Planned[Task]]]) -> dict[T, list[Planned[Task]]]:
    groups: dict[T, list[Planned[Task]]] = {}
    for key, planned in pairs:
        if key is not None:
            groups.setdefault(key, []).append(planned)
    return groups
