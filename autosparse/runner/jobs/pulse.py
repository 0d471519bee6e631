"""Signs of life of a worker: a mark in Ray's own key-value store that moves while the work uses its CPU.

A thread beside the work looks at the CPU clock of the *work's* thread. So the mark stands still where the work hangs,
whatever this thread could do; and it moves through an epoch of an hour, or a solver that tells nothing.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from ray import tune

from autosparse.runner.ray_private import mark_at, put_mark, remove_mark

EVERY = 5.0
"""Seconds between two looks."""
LEAST = 0.005
"""Seconds of CPU that are work: who only asks now and then whether there is anything uses less."""


@contextlib.contextmanager
def pulse() -> Iterator[None]:
    """Within the block, this thread is the work of the Tune trial that this process is at."""
    over, trial = threading.Event(), tune.get_context().get_trial_id()
    if trial is None:
        yield
        return
    beating = threading.Thread(target=_beat, args=(_key(trial), _clock(), over), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()


def seen(trial: str) -> bytes | None:
    """The mark of a trial, as it is now."""
    return mark_at(_key(trial))


def forget(trial: str) -> None:
    """Remove it."""
    remove_mark(_key(trial))


def _key(trial: str) -> str:
    return f"autosparse-pulse-{trial}"


def _clock() -> Callable[[], float]:
    """Seconds of CPU that the calling thread has used; where the system does not tell, as on macOS, it always moves."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)


def _beat(key: str, clock: Callable[[], float], over: threading.Event) -> None:
    last = clock()
    while not over.wait(EVERY):
        if (now := clock()) - last >= LEAST:
            with contextlib.suppress(Exception):  # Ray is away: the driver cannot look either
                put_mark(key, repr(now))
            last = now
