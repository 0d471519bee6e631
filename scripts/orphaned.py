"""Notice that the process which started this one has ended."""

import os
import threading
import time
from collections.abc import Callable

POLL = 1.0
"""Seconds between two looks."""


def when_orphaned(act: Callable[[], None]) -> None:
    """Call ``act`` in a thread as soon as the parent of this process has ended."""
    threading.Thread(target=_watch, args=(os.getppid(), act), daemon=True).start()


def _watch(parent: int, act: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    act()
