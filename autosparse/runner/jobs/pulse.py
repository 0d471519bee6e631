"""Signs of life of a worker: a mark in Ray's own key-value store that moves while the work uses its CPU.

A second thread reads the CPU clock of the *work's* thread. So the mark stands still if the work hangs, even if the
second thread runs on. It moves during an epoch of an hour, or a solver that reports nothing.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from ray import tune

from autosparse.runner.ray_private import put_mark

EVERY = 5.0
"""Seconds between two looks."""
LEAST = 0.005
"""Least seconds of CPU that count as work: a thread that only polls uses less."""


@contextlib.contextmanager
def pulse() -> Iterator[None]:
    """Within the block, take this thread's CPU time as the sign of life of this process's Tune trial."""
    over, trial = threading.Event(), tune.get_context().get_trial_id()
    if trial is None:
        yield
        return
    beating = threading.Thread(target=_beat, args=(trial, _clock(), over), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()


def _clock() -> Callable[[], float]:
    """A clock of the CPU seconds of the calling thread; wall-clock seconds on systems without one, such as macOS."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)


def _beat(trial: str, clock: Callable[[], float], over: threading.Event) -> None:
    last = clock()
    while not over.wait(EVERY):
        if (now := clock()) - last >= LEAST:
            with contextlib.suppress(Exception):  # if Ray is away, the driver cannot look either
                put_mark(trial, repr(now))
            last = now
