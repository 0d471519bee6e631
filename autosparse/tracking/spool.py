"""Write to MLflow beside the work; while the server is away, keep the tasks, and write their records later."""

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
"""Most tasks that are written at a time."""
PAUSE = 5.0
"""Seconds to wait after a failed try."""
REMIND_EVERY = 60.0
"""Seconds between two lines about the same trouble."""
PATIENCE = 120.0
"""Seconds that the end of an experiment waits for a server that is away."""


class Troubles:
    """Warns of each cause once; if it lasts, once a minute, with the number of times that it occurred."""

    def __init__(self, warn: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self.warn, self.clock = warn, clock
        self.told: dict[str, float] = {}
        self.since: Counter[str] = Counter()

    def __call__(self, error: AutosparseError) -> None:
        """Count an error, and warn of it if that is due."""
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
        """Say how the troubles ended, if there were any.

        :param waiting: number of finished tasks that MLflow lacks.
        """
        if self.told and waiting:
            tasks = "1 finished task is" if waiting == 1 else f"{waiting} finished tasks are"
            self.warn(
                f"{tasks} not in MLflow yet: kept in the results folder, and written at the end or by the next run"
            )
        elif self.told:
            self.warn("MLflow can be written to again, and has every finished task")


class Spool:
    """Writes finished tasks in a second thread, so that workers do not wait for MLflow.

    It keeps what cannot be written now, and writes it when the server is back, or at the next :meth:`drain`. Tasks that
    were lost with the process, or left when the block was interrupted, are found in the records by :func:`finish`.
    However the block ends, nothing is written after it, because two writers of a task would each make a run.
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
        """Have the task written soon."""
        self.waiting.append(planned)
        self.pool.submit(self.drain)

    def drain(self) -> None:
        """Write the waiting tasks, unless the server was just away; tasks that it refuses are queued again."""
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
        """Wait until the thread has done all its work; a ``join`` that Ctrl-C interrupts takes it for dead."""
        wait([self.pool.submit(self.drain)])


def finish(tracker: Tracker, plan: Plan, summary: Json, status: str, say: Callable[[str], None]) -> None:
    """Write every record of ``plan`` that MLflow does not have, and the experiment's ``summary`` and ``status``.

    It waits for a server that is away.

    :raises AutosparseError: if the server does not come back. Nothing is lost: the same command writes it later.
    """

    def say_once(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            say(f"{state.outcome.exception()}; trying again for {PATIENCE:.0f} s")

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(AutosparseError),
        stop=tenacity.stop_after_delay(PATIENCE),
        wait=tenacity.wait_exponential(multiplier=1, max=10),
        before_sleep=say_once,
        reraise=True,
    )
    try:
        retrying(tracker.sync, plan)
        retrying(tracker.parent.describe, summary, status)
    except AutosparseError as error:
        raise AutosparseError(f"{error}\nnothing is lost: run the same command when the server is back") from error
