"""Ctrl-C, and the SIGTERM of a scheduler: once is a clean stop, twice is an end at once.

This holds however a command was started. A script's shell lets what it starts with ``&`` ignore SIGINT, but a run must
stop if somebody asks it to. The price: Ctrl-C in the terminal of such a script stops its runs too, as cleanly as any
other. ``setsid`` keeps a run out of reach of the terminal.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from autosparse.errors import Interrupted

EXIT_CODE = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def heed_signals() -> None:
    """Have SIGINT and SIGTERM do what they do to a program that inherited nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interruptible(message: str) -> Iterator[None]:
    """:func:`stoppable`, and the signal is told as :class:`Interrupted`."""
    with stoppable():
        try:
            yield
        except KeyboardInterrupt as error:
            raise Interrupted(message) from error


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """What answers to a signal before the block does so after it: Ray puts a handler of its own for SIGTERM."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)
