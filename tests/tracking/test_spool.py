"""Finished tasks written beside the work: by one writer at a time, and none keeps another back."""

import signal
import threading

import pytest
from builders import ENVIRONMENT, a_cell, a_result

from autosparse.errors import AutosparseError
from autosparse.experiment.planned import Planned
from autosparse.experiment.store import Store
from autosparse.tracking import spool as module
from autosparse.tracking.client import connect
from autosparse.tracking.log import NotAllWritten, Tracker
from autosparse.tracking.search import all_runs
from autosparse.tracking.spool import Spool, Troubles

CELLS = [Planned(a_cell(seed=seed), "snip") for seed in range(6)]


class SlowTracker:
    """Writes nothing, and holds each batch until it may go on."""

    def __init__(self):
        self.begun, self.ended, self.writing, self.go_on = [], [], threading.Event(), threading.Event()

    def log_all(self, batch):
        self.begun += batch
        self.writing.set()
        assert self.go_on.wait(120)
        self.ended += batch


@pytest.fixture
def tracker(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 1)
    tracker = SlowTracker()
    yield tracker
    tracker.go_on.set()  # if a test fails, the thread ends nevertheless


@pytest.fixture
def as_it_waits(monkeypatch):
    """Functions to be called as the spool begins to wait for its thread: one for each wait, in this order."""
    calls, wait = [], module.wait

    def call_and_wait(futures):
        calls.pop(0)()
        return wait(futures)

    monkeypatch.setattr(module, "wait", call_and_wait)
    return calls


def test_after_ctrl_c_while_it_is_waited_for_nothing_is_being_written(tracker, as_it_waits):
    ctrl_c = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    as_it_waits += [ctrl_c.start, tracker.go_on.set]
    with pytest.raises(KeyboardInterrupt), Spool(tracker, print) as spool:
        for planned in CELLS:
            spool(planned)
        assert tracker.writing.wait(60)
    assert tracker.begun == tracker.ended == CELLS[:1], "the batch in flight was waited for, and no other begun"


def test_after_ctrl_c_within_the_block_the_batch_in_flight_is_the_last(tracker, as_it_waits):
    as_it_waits.append(tracker.go_on.set)
    with pytest.raises(KeyboardInterrupt), Spool(tracker, print) as spool:
        for planned in CELLS:
            spool(planned)
        assert tracker.writing.wait(60)
        raise KeyboardInterrupt
    assert tracker.begun == tracker.ended == CELLS[:1]


def test_a_task_that_is_refused_keeps_no_other_back(monkeypatch):
    class Refusing:
        def log_all(self, batch):
            written.extend(planned for planned in batch if planned is not CELLS[0])
            if CELLS[0] in batch:
                raise NotAllWritten(AutosparseError("refused"), [CELLS[0]])

    written, said = [], []
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module, "PAUSE", 0.0)
    with Spool(Refusing(), said.append) as spool:
        for planned in CELLS:
            spool(planned)
    assert sorted(planned.task.seed for planned in written) == [1, 2, 3, 4, 5]
    assert list(spool.waiting) == CELLS[:1]
    assert said[0] == "refused"
    assert said[1].startswith("1 finished task is not in MLflow yet: kept in the results folder")
    assert len(said) == 2


def test_at_the_end_all_is_written(tracker):
    tracker.go_on.set()
    with Spool(tracker, print) as spool:
        for planned in CELLS:
            spool(planned)
    assert tracker.ended == CELLS


def test_a_trouble_is_told_once_a_minute_with_its_number_and_another_at_once():
    said, now = [], [0.0]
    troubles = Troubles(said.append, clock=lambda: now[0])
    for second in range(150):
        now[0] = float(second)
        troubles(AutosparseError(f"disk is full at task 0f{second:03}ab"))
    troubles(AutosparseError("refused"))
    troubles.close(3)
    assert said == [
        "disk is full at task 0f000ab",
        "disk is full at task 0f060ab (59 more times since the last such line)",
        "disk is full at task 0f120ab (59 more times since the last such line)",
        "refused",
        "3 finished tasks are not in MLflow yet: kept in the results folder, and written at the end or by the next run",
    ]


@pytest.mark.parametrize("waiting", [0, 2])
def test_where_nothing_went_wrong_nothing_is_said(waiting):
    said = []
    Troubles(said.append).close(waiting)
    assert said == []


RESULT = a_result(
    effective_sparsity=0.9, effective_kept=10, disconnected_layers=[], flops_dense=200, flops_pruned=20,
    mask_sketch="0123abcd:AAAA", device="cpu",
)  # fmt: skip


def test_a_full_disk_under_the_database_is_a_few_lines_and_all_is_written_when_there_is_room(
    tmp_path, empty_store, monkeypatch, capfd
):
    import sqlalchemy

    monkeypatch.setattr(module, "PAUSE", 0.0)
    client, store, said = connect(empty_store(tmp_path)), Store(tmp_path / "results"), []
    tracker = Tracker(client, "full", store)
    engine = client._tracking_client.store.engine
    engine.dispose()
    full = {"pages": 1}

    @sqlalchemy.event.listens_for(engine, "checkout")
    def limit(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {full['pages']}")  # SQLite takes no less than the present size

    with Spool(tracker, said.append) as spool:
        for planned in CELLS:
            store.finish(planned.task, RESULT, ENVIRONMENT)
            spool(planned)
            spool._await_thread()
        tries = sum(spool.troubles.since.values())
        assert tries >= len(CELLS) - 1, "it went wrong each time"
        full["pages"] = 1 << 30
    assert len(said) == 2
    assert "disk is full; see that its folder has room" in said[0]
    assert said[1] == "MLflow can be written to again, and has every finished task"
    assert capfd.readouterr().err == ""
    assert len(list(all_runs(client, tracker.experiment_id))) == 1 + len(CELLS)
