"""How often the records of a run are read by its driver: each once, and none of them by a second look at its file."""

import os
import threading
import time
from collections import Counter

import pytest
from builders import a_cell, a_grid, plan_from

from autosparse.experiment import store as stores
from autosparse.experiment.plan import Plan
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import set_aside
from autosparse.files import read_record, write_record
from autosparse.runner.driver.outcome import outcome_of
from autosparse.runner.driver.run import run_plan
from autosparse.runner.screen.console import Screen
from autosparse.storage import Bucket, Folder, folder
from autosparse.storage import bucket as buckets

RECIPE = {"epochs": 1, "batch_size": 256}


@pytest.fixture
def reads(monkeypatch):
    """How often this process has read each file."""
    counts, read = Counter(), Folder.read
    monkeypatch.setattr(Folder, "read", lambda self, name: counts.update([name]) or read(self, name))
    return counts


@pytest.fixture
def listings(monkeypatch):
    """How often this process has listed each folder."""
    counts, stamps, names = Counter(), Folder.stamps, Folder.names
    monkeypatch.setattr(Folder, "stamps", lambda self: counts.update([self.path.name]) or stamps(self))
    monkeypatch.setattr(Folder, "names", lambda self, deep=False: counts.update([self.path.name]) or names(self, deep))
    return counts


def cells(reads):
    return sorted(count for name, count in reads.items() if name.startswith("cells/"))


def test_a_run_reads_each_record_once_and_lists_them_before_and_after(ray_running, settings, reads, listings):
    grid = a_grid(methods=["random"], sparsities=[0.5, 0.9], seeds=[0, 1], recipe=RECIPE)
    plan = Plan("scans", cells=plan_from(name="scans", grid=grid).cells)
    assert run_plan(plan, settings, Screen()).done == 4
    assert cells(reads) == [1, 1, 1, 2], "one of them tells the layers of the network as well"
    assert listings["cells"] == 2
    reads.clear()
    listings.clear()
    assert run_plan(plan, settings, Screen()).found == 4
    assert cells(reads) == [1, 1, 1, 3], "the layers are told before and after"
    assert listings["cells"] == 1


def with_four_finished(root):
    """A store with four finished cells that it has read, and the plan of them and a fifth."""
    plan = plan_from(grid=a_grid(methods=["random"], sparsities=[0.5], seeds=[0, 1, 2, 3, 4]))
    store = Store(root)
    for planned in plan.cells[:4]:
        store.finish(planned.task, {"test_accuracy": 1.0}, {})
    assert len(store.finished(planned.task for planned in plan.cells)) == 4
    return plan, store


@pytest.fixture
def some(tmp_path):
    return with_four_finished(tmp_path)


@pytest.fixture
def on_s3(s3):
    return with_four_finished(s3("scans"))


def ids(planned):
    return {each.task.id for each in planned}


@pytest.mark.parametrize("times", ["as they come", "put back"])
def test_what_was_whole_and_is_damaged_before_the_end_is_found_at_the_end(some, times):
    plan, store = some
    path = store.record_path(plan.cells[1].task)
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content.replace(b"1.0", b"9.0"))
    if times == "put back":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    outcome, _ = outcome_of(plan.cells, plan.cells[4:], store, plan)
    assert ids(each for each, _ in outcome.to_do) == ids([plan.cells[1], plan.cells[4]])


def test_on_s3_what_was_whole_and_is_damaged_within_the_same_second_is_found_at_the_end(on_s3):
    plan, store = on_s3
    name = f"cells/{plan.cells[1].task.id}.json"
    store.place.write(name, store.place.read(name)[:-20])
    outcome, _ = outcome_of(plan.cells, plan.cells[4:], store, plan)
    assert ids(each for each, _ in outcome.to_do) == ids([plan.cells[1], plan.cells[4]])


def test_on_s3_only_what_is_another_is_read_at_the_end(on_s3, monkeypatch):
    plan, store = on_s3
    store.place.write(f"cells/{plan.cells[0].task.id}.json", b"damaged")
    read, names = Bucket.read_stamped, []
    monkeypatch.setattr(Bucket, "read_stamped", lambda self, name: names.append(name) or read(self, name))
    assert store.finished(planned.task for planned in plan.cells) == ids(plan.cells[1:4])
    assert names == [f"cells/{plan.cells[0].task.id}.json"]


def test_where_a_store_tells_no_times_all_are_read_at_the_end(on_s3, monkeypatch):
    plan, store = on_s3
    monkeypatch.setattr(buckets, "_stamp", lambda told: None)
    fresh, read, names = Store(store.place), Bucket.read_stamped, []
    tasks = [planned.task for planned in plan.cells]
    assert fresh.finished(tasks) == ids(plan.cells[:4])
    monkeypatch.setattr(Bucket, "read_stamped", lambda self, name: names.append(name) or read(self, name))
    assert fresh.finished(tasks) == ids(plan.cells[:4])
    assert sorted(names) == sorted(f"cells/{task.id}.json" for task in tasks[:4])


def test_at_the_end_only_what_is_new_or_another_is_read(some, reads):
    plan, store = some
    other = Store(store.root)
    other.finish(plan.cells[4].task, {"test_accuracy": 2.0}, {})
    write_record(store.record_path(plan.cells[0].task), read_record(store.record_path(plan.cells[0].task)))
    reads.clear()
    outcome, _ = outcome_of(plan.cells, plan.cells[4:], store, plan)
    assert outcome.whole
    assert set(reads) == {f"cells/{planned.task.id}.json" for planned in (plan.cells[0], plan.cells[4])}


def test_a_worker_that_wrote_its_record_and_died_before_it_told_is_found_by_its_path(some, monkeypatch, listings):
    plan, store = some
    tasks = [planned.task for planned in plan.cells]
    Store(store.root).finish(tasks[4], {"test_accuracy": 2.0}, {})
    assert store.finished(tasks, known=True) == ids(plan.cells[:4]), "nobody told of it"
    listings.clear()
    assert store.finished_now(tasks) == ids(plan.cells)
    assert listings["cells"] == 0
    store.board.doubt(tasks[4].id)
    monkeypatch.setattr(stores, "FEW", 0)
    assert store.finished_now(tasks) == ids(plan.cells), "also where it is less work to list all"


def test_what_a_worker_tells_is_not_read_before_the_end_and_not_believed_then(some, reads):
    plan, store = some
    task = plan.cells[4].task
    store.hear([task.id])
    reads.clear()
    assert task.id in store.finished_now([task])
    assert not reads
    outcome, _ = outcome_of(plan.cells, plan.cells[4:], store, plan)
    assert ids(each for each, _ in outcome.to_do) == {task.id}


def test_what_is_known_is_read_again_only_if_it_is_asked_for_anew(tmp_path, reads):
    store, cell = (
        Store(tmp_path),
        a_cell(criterion="random", sparsity=0.5),
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


def test_what_is_known_and_gone_is_missed_by_the_next_look_at_the_storage(some):
    plan, store = some
    cell = plan.cells[0].task
    store.record_path(cell).unlink()
    assert store.finished([cell], known=True) == {cell.id}
    assert store.finished([cell]) == set()
    assert store.finished([cell], known=True) == set()


def test_what_this_process_sets_aside_is_known_to_have_gone(some):
    plan, store = some
    set_aside(plan.cells[0].task, store)
    tasks = [planned.task for planned in plan.cells]
    assert store.finished(tasks, known=True) == store.there(tasks) == ids(plan.cells[1:4])


def test_a_folder_that_is_slow_to_answer_is_read_by_many_at_once_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "TRIED", 4)
    monkeypatch.setattr(folder, "SLOW", 0.0)
    threads = set()
    found = Folder(tmp_path).each(
        lambda item: threads.add(threading.get_ident()) or time.sleep(0.001) or -item, range(50)
    )
    assert list(found) == [-item for item in range(50)]
    assert len(threads) > 2


def test_the_records_of_a_few_tasks_are_read_without_a_listing(tmp_path, monkeypatch):
    store = Store(tmp_path, gathered=False)  # as a worker opens it
    done, other = (a_cell(criterion="random", sparsity=0.5, seed=seed) for seed in (0, 1))
    store.finish(done, {"accuracy": 1.0}, {})
    for way in ("names", "stamps"):
        monkeypatch.setattr(Folder, way, lambda *_: pytest.fail("listed"))
    found = store.records([done, other])
    assert {own: record["result"] for own, record in found.items()} == {done.id: {"accuracy": 1.0}}
