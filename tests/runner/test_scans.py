"""How often the records of a run are read by its driver: each when it is new, and all of them once more at the end."""

from collections import Counter

import pytest

from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.runner.driver.run import run_plan
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.storage import Folder

RECIPE = {"epochs": 1, "batch_size": 256}


@pytest.fixture
def reads(monkeypatch):
    """How often this process has read each file."""
    counts, read = Counter(), Folder.read
    monkeypatch.setattr(Folder, "read", lambda self, name: counts.update([name]) or read(self, name))
    return counts


def cells(reads):
    return sorted(count for name, count in reads.items() if name.startswith("cells/"))


def test_a_record_is_read_when_it_is_new_and_for_mlflow_and_at_the_end(ray_running, tmp_path, empty_store, reads):
    settings = Settings(storage=tmp_path / "results", tracking_uri=empty_store(tmp_path))
    grid = {"models": ["lenet-300-100"], "datasets": ["digits"], "methods": ["random"], "recipe": RECIPE}
    content = {"name": "scans", "grid": {**grid, "sparsities": [0.5, 0.9], "seeds": [0, 1]}}
    plan = Plan("scans", cells=make_plan(parse_experiment(content, "scans.yaml")).cells)
    assert run_plan(plan, settings, Screen()).done == 4
    first, *others, last = cells(reads)
    assert (first, others, last) == (3, [3, 3], 4), "one of them tells the layers of the network as well"
    reads.clear()
    assert run_plan(plan, settings, Screen()).found == 4
    assert cells(reads) == [1, 1, 1, 3]


def test_what_is_known_is_read_again_only_if_it_is_asked_for_anew(tmp_path, reads):
    store, cell = (
        Store(tmp_path),
        Cell(model="lenet-300-100", dataset="digits", criterion="random", sparsity=0.5, seed=0),
    )
    store.finish(cell, {}, {})
    assert store.finished([cell], known=True) == {cell.id}
    reads.clear()
    assert store.finished([cell], known=True) == {cell.id}
    assert not reads
    path = store.record_path(cell)
    path.write_bytes(path.read_bytes()[:-20])
    assert store.finished([cell], known=True) == {cell.id}
    assert store.finished([cell]) == set()


def test_what_is_known_and_gone_is_not_finished(tmp_path):
    store, cell = (
        Store(tmp_path),
        Cell(model="lenet-300-100", dataset="digits", criterion="random", sparsity=0.5, seed=0),
    )
    store.finish(cell, {}, {})
    assert store.finished([cell]) == {cell.id}
    store.record_path(cell).unlink()
    assert store.finished([cell], known=True) == set()


def test_the_records_of_a_few_tasks_are_read_without_a_listing(tmp_path, monkeypatch):
    store = Store(tmp_path)
    done, other = (
        Cell(model="lenet-300-100", dataset="digits", criterion="random", sparsity=0.5, seed=seed) for seed in (0, 1)
    )
    store.finish(done, {"accuracy": 1.0}, {})
    monkeypatch.setattr(Folder, "names", lambda self, deep=False: pytest.fail("listed"))
    found = store.records([done, other])
    assert {own: record["result"] for own, record in found.items()} == {done.id: {"accuracy": 1.0}}
