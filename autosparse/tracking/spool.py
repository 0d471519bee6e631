"""MLflow written beside the work: a server that is away is waited for, and the records are what is written later."""

import math
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import tenacity

from autosparse.errors import AutosparseError
from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.record import Json
from autosparse.experiment.tasks import Task
from autosparse.tracking.log import NotAllWritten, Tracker

BATCH = 64
"""Tasks that are written at a time, if so many wait."""
PAUSE = 5.0
"""Seconds without another try after one that failed."""
REMIND_EVERY = 60.0
"""Seconds between two lines about the same trouble."""
PATIENCE = 120.0
"""Seconds that the end of an experiment waits for a server that is away."""


class Troubles:
    """Tells of each cause once, and of one that lasts once a minute with its number, however often it comes."""

    def __init__(self, warn: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self.warn, self.clock = warn, clock
        self.told: dict[str, float] = {}
        self.since: Counter[str] = Counter()

    def __call__(self, error: AutosparseError) -> None:
        """It has come again."""
        cause = re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", str(error))  # ids and counts are not what went wrong
        now = self.clock()
        if now - self.told.get(cause, -math.inf) < REMIND_EVERY:
            self.since[cause] += 1
            return
        again = self.since.pop(cause, 0)
        times = f" ({again} more time{'' if again == 1 else 's'} since the last such line)" if again else ""
        self.told[cause] = now
        self.warn(f"{error}{times}")

    def close(self, waiting: int) -> None:
        """Say how it ended, if there was any; ``waiting``: how many finished tasks MLflow does not have."""
        if self.told and waiting:
            tasks = "1 finished task is" if waiting == 1 else f"{waiting} finished tasks are"
            self.warn(
                f"{tasks} not in MLflow yet: kept in the results folder, and written at the end or by the next run"
            )
        elif self.told:
            self.warn("MLflow could be written again: it has all that has finished")


class Spool:
    """Writes finished tasks in a thread of its own, so that workers do not wait for MLflow.

    What cannot be written now is kept, and written when the server is back, or at the next :meth:`drain`. What is
    lost with the process, or left when the block is broken off, is found in the records by :func:`finish`. After the
    block nothing is being written, however it ends: of two writers of a task each would make a run.
    """

    def __init__(self, tracker: Tracker, warn: Callable[[str], None]):
        self.tracker, self.troubles = tracker, Troubles(warn)
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
                self.troubles(error)
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
            self.troubles.close(len(self.waiting))

    def _await_thread(self) -> None:
        """Until all that was handed to it is done; a `join` that Ctrl-C breaks off takes the thread for dead."""
        wait([self.pool.submit(self.drain)])


def finish(
    tracker: Tracker, plan: Plan, summary: Json, status: str, say: Callable[[str], None], patience: float = PATIENCE
) -> None:
    """Write every record of ``plan`` that MLflow does not have, and the experiment's ``summary`` and ``status``.

    A server that is away is waited for.

    :raises AutosparseError: if it has not come back: nothing is lost, the same command writes it later.
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
