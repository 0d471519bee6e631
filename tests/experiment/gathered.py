"""Ten finished cells, gathered in segments, for the tests of these."""

import contextlib

import pytest
from builders import Killed, a_cell

from autosparse.experiment.gathering import loosen
from autosparse.experiment.store import Store
from autosparse.storage import Folder

CELLS = [a_cell(criterion=criterion, seed=seed) for criterion in ("snip", "random") for seed in range(5)]
IDS = {cell.id for cell in CELLS}


def filled(store):
    for place, cell in enumerate(CELLS):
        store.finish(cell, {"test_accuracy": place, "density_by_layer": {"fc1.weight": 0.1}}, {"host": "here"})
    return store


def accuracies(store):
    """The accuracies of the cells that a new process finds finished and can read, by their places in the list."""
    fresh = Store(store.place)
    finished = fresh.finished(CELLS)
    records = {cell.id: Store(store.place).record(cell) for cell in CELLS}
    assert finished == {task_id for task_id, record in records.items() if record}
    assert fresh.finished(CELLS, known=True) == finished
    return {place: records[c.id]["result"]["test_accuracy"] for place, c in enumerate(CELLS) if records[c.id]}


ALL = {place: place for place in range(len(CELLS))}


def files(store, folder):
    return {name: store.place.read(f"{folder}/{name}") for name in store.place.within(folder).names()}


@contextlib.contextmanager
def mortal(after):
    """Kills this process after it wrote or removed so many files: each further one raises ``Killed``."""
    left = iter(range(after))

    def counted(act):
        def acted(self, *given):
            if next(left, None) is None:
                raise Killed
            return act(self, *given)

        return acted

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "remove"):
            patch.setattr(Folder, name, counted(getattr(Folder, name)))
        yield


def loosen_and_die(store, ids, after):
    """Take records out of their segments in a process that is killed after so many files were written or removed."""
    with contextlib.suppress(Killed), mortal(after):
        loosen(store, ids)
