"""MLflow written beside the work: a server that is away is waited for, and the records are what is written later."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import tenacity

from autosparse.errors import AutosparseError
from autosparse.experiment.plan import Plan, Planned
from autosparse.experiment.store import Record
from autosparse.experiment.tasks import Task
from autosparse.tracking.log import NotAllWritten, Tracker

BATCH = 64
"""Tasks that are written at a time, if so many wait."""
PAUSE = 5.0
"""Seconds without another try after one that failed."""
PATIENCE = 120.0
"""Seconds that the end of an experiment waits for a server that is away."""


class Spool:
    """Writes finished tasks in a thread of its own, so that workers do not wait for MLflow.

    What cannot be written now is kept, and written when the server is back, or at the next :meth:`drain`. What is
    lost with the process, or left when the block is broken off, is found in the records by :func:`finish`. After the
    block nothing is being written, however it ends: of two writers of a task each would make a run.
    """

    def __init__(self, tracker: Tracker, warn: Callable[[str], None]):
        self.tracker, self.warn = tracker, warn
        self.waiting: deque[Planned[Task]] = deque()
        self.away_until = 0.0
        self.stopped = False
        self.pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> "Spool":
        return self

    def __call__(self, planned: Planned[Task]) -> None:
        """Have it written soon."""
        self.waiting.append(planned)
        self.pool.submit(self.drain)

    def drain(self) -> None:
        """Write what waits, unless the server was away a moment ago; what it refuses comes last at the next try."""
        while self.waiting and not self.stopped and time.monotonic() >= self.away_until:
            batch = [self.waiting.popleft() for _ in range(min(BATCH, len(self.waiting)))]
            try:
                self.tracker.log_all(batch)
            except NotAllWritten as error:
                self.waiting.extend(error.left)
                if not self.away_until:
                    self.warn(f"{error}; what has finished is kept, and written when the server is back")
                self.away_until = time.monotonic() + PAUSE
                return

    def __exit__(self, kind: object, *_: object) -> None:
        self.stopped = kind is not None
        try:
            self._await_thread()
        except BaseException:  # Ctrl-C
            self.stopped = True
            self._await_thread()
            raise
        finally:
            self.pool.shutdown(wait=False)

    def _await_thread(self) -> None:
        """Until all that was handed to it is done; a `join` that Ctrl-C breaks off takes the thread for dead."""
        wait([self.pool.submit(self.drain)])


def finish(
    tracker: Tracker, plan: Plan, summary: Record, status: str, say: Callable[[str], None], patience: float = PATIENCE
) -> None:
    """Write every record of ``plan`` that MLflow does not have, and the experiment's ``summary`` and ``status``.

    A server that is away is waited for.

    :raises AutosparseError: where it has not come back: nothing is lost, the same command writes it later.
    """

    def tell(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            say(f"{state.outcome.exception()}; trying again for {patience:.0f} s")

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(AutosparseError),
        stop=tenacity.stop_after_delay(patience),
        wait=tenacity.wait_exponential(multiplier=1, max=10),
        before_sleep=tell,
        reraise=True,
    )
    try:
        retrying(tracker.sync, plan)
        retrying(tracker.describe, summary, status)
    except AutosparseError as error:
        raise AutosparseError(f"{error}\nnothing is lost: run the same command when the server is back") from error
