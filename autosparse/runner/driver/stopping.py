"""Handle Ctrl-C and a scheduler's SIGTERM: the first stops a command cleanly, the second ends it at once.

This holds however the command was started. A script's shell makes what it starts with ``&`` ignore SIGINT, but a run
must stop if somebody asks it to. The price: Ctrl-C in the terminal of such a script cleanly stops its runs, too.
``setsid`` keeps a run out of reach of the terminal.
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
    """Restore the default handlers of SIGINT and SIGTERM if this process inherited that they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Within the block, the first signal raises KeyboardInterrupt, and the second ends the process.

    Nothing is ever left half-written, and Ray's own processes end with their driver.
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
    """Like :func:`stoppable`, but raise :class:`Interrupted` with ``message``."""
    with stoppable():
        try:
            yield
        except KeyboardInterrupt as error:
            raise Interrupted(message) from error


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """After the block, restore the handlers that are functions: Ray installs its own for SIGTERM.

    If there was none, Ray's stays; it ends the process cleanly.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)
