"""Ctrl-C, and the SIGTERM of a scheduler: once is a clean stop, twice is an end at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_CODE = 130


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Within the block, the first signal raises KeyboardInterrupt, and the second ends the process.

    Whenever that is, nothing is half-written, and Ray's own processes end with their driver.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping:
            os._exit(EXIT_CODE)
        stopping.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
