"""One driver at a time: a lock on a folder, a lease in an object store."""

import contextlib
import fcntl
import json
import os
import platform
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from autosparse.errors import AutosparseError
from autosparse.files import refusing_unwritable
from autosparse.storage import Folder, Place

LEASE = "driver.json"
BEAT = 10.0
"""Seconds between a driver's signs of life."""
SILENCE = 3 * BEAT
"""Seconds without one after which a driver is taken for dead."""
SETTLED = 1.0
"""Seconds after which, of two drivers that start together, the later has overwritten the other's lease."""


def one_driver(place: Place) -> contextlib.AbstractContextManager[threading.Event]:
    """Hold a place for this driver alone; raise if another one holds it. The lock ends with the process.

    The event is set when another driver has taken the place over, since it assumed that this one crashed.
    """
    return _locked(place.path) if isinstance(place, Folder) else _leased(place)


def _refused(place: Place | Path, holder: str = "") -> AutosparseError:
    return AutosparseError(
        f"another autosparse{holder} is running on {place}: wait for it, or choose another --storage"
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[threading.Event]:
    path = folder / ".driver.lock"
    with refusing_unwritable(path):
        lock = path.open("a")
    with lock:
        with refusing_unwritable(path):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _refused(folder) from error
        yield threading.Event()


@contextlib.contextmanager
def _leased(bucket: Place) -> Iterator[threading.Event]:
    """Hold a lease: an object that the driver keeps changing. Others watch for changes, so no clocks are compared.

    There are no locks in an object store: if two drivers start within a second of each other and one of them stalls,
    both could win. Records are named by their content, so they would do work twice, but lose nothing.
    """
    _wait_for_silence(bucket)
    mine = secrets.token_hex(8)
    _beat(bucket, mine)
    time.sleep(SETTLED)
    if (held := _lease(bucket)).get("token") != mine:
        raise _refused(bucket, _named(held))
    over, lost = threading.Event(), threading.Event()
    beating = threading.Thread(target=_keep_beating, args=(bucket, mine, over, lost), daemon=True)
    beating.start()
    try:
        yield lost
    except AutosparseError as error:
        if lost.is_set():
            raise AutosparseError(
                f"another autosparse assumed this run had crashed and took over {bucket}: wait for it, or choose "
                "another --storage"
            ) from error
        raise
    finally:
        over.set()
        beating.join()
        with contextlib.suppress(AutosparseError):  # an old lease only makes the next driver wait a little
            if _lease(bucket).get("token") == mine:
                bucket.remove(LEASE)


def _wait_for_silence(bucket: Place) -> None:
    """Return when nobody holds the place; raise if its holder gives a sign of life."""
    first, since = _lease(bucket), time.monotonic()
    while first and time.monotonic() - since < SILENCE:
        time.sleep(BEAT / 10)
        now = _lease(bucket)
        if not now:
            return
        if now != first:
            raise _refused(bucket, _named(now))


def _keep_beating(bucket: Place, mine: str, over: threading.Event, lost: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(AutosparseError):  # the next beat may get through
            if _lease(bucket).get("token", mine) != mine:  # this driver was silent for too long and has a successor
                lost.set()
                if callable(
                    signal.getsignal(signal.SIGTERM)
                ):  # a handler stops it cleanly; without one it continues, and does work twice
                    os.kill(os.getpid(), signal.SIGTERM)
                return
            _beat(bucket, mine)


def _beat(bucket: Place, mine: str) -> None:
    content = {"token": mine, "host": platform.node(), "pid": os.getpid(), "beat": secrets.token_hex(4)}
    bucket.write(LEASE, json.dumps(content).encode())


def _lease(bucket: Place) -> dict[str, object]:
    """The lease at the place; {} if there is none."""
    try:
        content = bucket.read(LEASE)
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _named(lease: dict[str, object]) -> str:
    return f" (process {lease.get('pid')} on {lease.get('host')})"
