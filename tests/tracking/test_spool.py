"""Finished tasks written beside the work: by one writer at a time, and none keeps another back."""

import signal
import threading

import pytest

from autosparse.errors import AutosparseError
from autosparse.experiment.plan import Planned
from autosparse.experiment.tasks import Cell
from autosparse.tracking import spool as module
from autosparse.tracking.log import NotAllWritten
from autosparse.tracking.spool import Spool

CELLS = [
    Planned(Cell(model="lenet-300-100", dataset="digits", criterion="snip", sparsity=0.9, seed=seed), "snip")
    for seed in range(6)
]


class SlowTracker:
    """Writes nothing, and takes its time: each batch until it is let go on."""

    def __init__(self):
        self.begun, self.ended, self.writing, self.go_on = [], [], threading.Event(), threading.Event()

    def log_all(self, batch):
        self.begun += batch
        self.writing.set()
        assert self.go_on.wait(10)
        self.ended += batch


@pytest.fixture
def tracker(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 1)
    return SlowTracker()


def test_after_ctrl_c_while_it_is_waited_for_nothing_is_being_written(tracker):
    with pytest.raises(KeyboardInterrupt), Spool(tracker, print) as spool:
        for planned in CELLS:
            spool(planned)
        assert tracker.writing.wait(10)
        main = threading.main_thread().ident
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
        threading.Timer(0.3, tracker.go_on.set).start()
    assert tracker.begun == tracker.ended == CELLS[:1], "the batch in flight was waited for, and no other begun"


def test_after_ctrl_c_within_the_block_the_batch_in_flight_is_the_last(tracker):
    with pytest.raises(KeyboardInterrupt), Spool(tracker, print) as spool:
        for planned in CELLS:
            spool(planned)
        assert tracker.writing.wait(10)
        threading.Timer(0.1, tracker.go_on.set).start()
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
    assert len(said) == 1


def test_at_the_end_all_is_written(tracker):
    tracker.go_on.set()
    with Spool(tracker, print) as spool:
        for planned in CELLS:
            spool(planned)
    assert tracker.ended == CELLS
