"""A folder of this machine, or one that it mounts, as a place for finished work."""

# ruff: noqa: D102  Place documents the methods
import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from autosparse.files import make_folder, refusing_unwritable, require_writable, sync_folder, write_atomic
from autosparse.storage.place import Place, R, T

TRIED = 64
"""Files that are read one after the other, to see how fast the folder answers."""
SLOW = 1e-3
"""Seconds a file; if it takes longer, several are read at once, because each read of a mounted folder waits."""
AT_ONCE = 16


class Folder(Place):
    """A folder of this machine, or one that it mounts."""

    def __init__(self, path: str | Path):
        self.path = Path(path).absolute()
        self.local = self.path
        self.address = str(self.path)

    def __str__(self) -> str:
        return self.address

    def within(self, name: str) -> Self:
        return type(self)(self.path / name)

    def require_writable(self) -> None:
        require_writable(self.path)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def read_part(self, name: str, start: int, length: int) -> bytes:
        with (self.path / name).open("rb") as file:
            file.seek(start if start >= 0 else max(file.seek(0, os.SEEK_END) + start, 0))
            return file.read(length)

    @contextlib.contextmanager
    def bring(self, name: str) -> Iterator[Path]:
        yield self.path / name

    @contextlib.contextmanager
    def made(self, name: str) -> Iterator[Path]:
        """Yield the file's own path: the block has to write the file whole or not at all."""
        yield self.path / name

    def write(self, name: str, data: bytes) -> None:
        write_atomic(self.path / name, data)

    def remove(self, name: str) -> None:
        path = self.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)  # a folder that has the file's name
        else:
            path.unlink(missing_ok=True)

    def move(self, name: str, to: str) -> None:
        source, target = self.path / name, self.path / to
        if not source.is_dir():
            return
        with refusing_unwritable(target):
            make_folder(target.parent)
            shutil.rmtree(target, ignore_errors=True)
            source.replace(target)
            sync_folder(target.parent)

    def names(self, deep: bool = False) -> list[str]:
        if not deep:
            entries = os.scandir(self.path) if self.path.is_dir() else ()
            return sorted(entry.name for entry in entries if entry.is_file())
        walked = os.walk(self.path, onerror=_raise_unless_gone)
        found = (Path(folder, name) for folder, _, names in walked for name in names)
        return sorted(path.relative_to(self.path).as_posix() for path in found if path.is_file())

    def stamps(self) -> dict[str, int]:
        if not self.path.is_dir():
            return {}
        found = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    if entry.is_file():
                        found[entry.name] = _stamp(entry.stat())
        return found

    def read_stamped(self, name: str) -> tuple[bytes, int | None]:
        stamp = self.stamp(name)  # first: what is written later differs
        return self.read(name), stamp

    def stamp(self, name: str) -> int | None:
        try:
            return _stamp((self.path / name).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def clear(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def drop_if_empty(self) -> None:
        with contextlib.suppress(OSError):  # not there, or not empty: another process may write to it right now
            self.path.rmdir()

    def send(self, name: str) -> None:
        """Do nothing: what was made in ``local / name`` is already in place."""

    def fetch(self, name: str) -> Path:
        return self.path / name

    def forget(self, name: str) -> bool:
        """Do nothing: there is no copy of the folder ``name``."""
        return False

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterable[R]:
        """Do ``work`` on one after the other, or on several at once if the folder is slow to answer."""
        left = iter(items)
        started = time.perf_counter()
        found = [work(item) for item in itertools.islice(left, TRIED)]
        slow = len(found) == TRIED and time.perf_counter() - started > SLOW * TRIED
        return itertools.chain(found, _at_once(work, left) if slow else map(work, left))


def _at_once(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(work, items)


def _stamp(found: os.stat_result) -> int:
    """A number that differs if a file was replaced or written to; it means nothing to other processes."""
    return hash((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


def _raise_unless_gone(error: OSError) -> None:
    """Raise, unless another process has removed a folder since it was listed."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
