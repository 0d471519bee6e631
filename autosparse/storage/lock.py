"""One driver at a time: a lock on a folder, a lease in an object store."""

import contextlib
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from autosparse.errors import AutosparseError
from autosparse.files import refusing_unwritable
from autosparse.storage import Folder, Place, lease
from autosparse.storage.lease import Lease, refused

LOCK = ".driver.lock"


def one_driver(place: Place, option: str = "--storage") -> contextlib.AbstractContextManager[threading.Event]:
    """Hold a place for this driver alone; raise if another one holds it. The lock ends with the process.

    The event is set when another driver has taken the place over, since it assumed that this one crashed.

    :param option: how the user chooses the place, for errors.
    """
    return _locked(place.path, option) if isinstance(place, Folder) else _leased(place, option)


@contextlib.contextmanager
def _locked(folder: Path, option: str) -> Iterator[threading.Event]:
    path = folder / LOCK
    with refusing_unwritable(path):
        lock = path.open("a")
    with lock:
        with refusing_unwritable(path):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise refused(folder, option) from error
            if not path.exists() or not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                raise refused(folder, option)  # whoever held it has moved or removed the folder meanwhile
        yield threading.Event()


@contextlib.contextmanager
def _leased(bucket: Place, option: str) -> Iterator[threading.Event]:
    """Hold a lease, see :class:`Lease`."""
    held = Lease(bucket, option)
    held.take()
    over, lost = threading.Event(), threading.Event()
    beating = threading.Thread(target=_keep_beating, args=(held, over, lost), daemon=True)
    beating.start()
    try:
        yield lost
    except (AutosparseError, KeyboardInterrupt) as error:  # losing the lease sends this process SIGTERM
        if lost.is_set():
            raise AutosparseError(
                f"another autosparse assumed this run had crashed and took over {bucket}: wait for it, or choose "
                f"another {option}"
            ) from error
        raise
    finally:
        over.set()
        beating.join()
        with contextlib.suppress(AutosparseError):  # an old lease only makes the next driver wait a little
            held.end()


def _keep_beating(held: Lease, over: threading.Event, lost: threading.Event) -> None:
    while not over.wait(lease.BEAT):
        with contextlib.suppress(AutosparseError):  # the next beat may get through
            if not held.keep():
                lost.set()
                # a handler stops this driver cleanly; without one it continues, and does work twice
                if callable(signal.getsignal(signal.SIGTERM)):
                    os.kill(os.getpid(), signal.SIGTERM)
                return
