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


class _Stop:
    """What a :func:`stoppable` block knows of signals."""

    came, held_back = False, False


_innermost: list[_Stop] = []


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
    this = _Stop()

    def stop(number: int, frame: FrameType | None) -> None:
        if this.came:
            os._exit(EXIT_CODE)
        this.came = True
        if not this.held_back:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    _innermost.append(this)
    try:
        yield
    finally:
        _innermost.pop()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Within the block, the first signal waits until its end, and then raises KeyboardInterrupt.

    For what must not be left half-done. Only within :func:`stoppable`; the second signal ends the process even here.
    """
    this = _innermost[-1] if _innermost and threading.current_thread() is threading.main_thread() else _Stop()
    before, this.held_back = this.came, True
    try:
        yield
    finally:
        this.held_back = False
        if this.came and not before:
            raise KeyboardInterrupt


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
