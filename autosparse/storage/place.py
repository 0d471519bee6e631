"""What is asked of a place where finished work lies: files that are whole or absent, by name."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Place(Protocol):
    """A folder, or a prefix in an object store. Names are relative, with ``/``.

    What is too large for memory is made and read in folders of this machine, under ``local``: an object store takes
    them (:meth:`send`) and gives them (:meth:`fetch`).
    """

    address: str
    local: Path

    def within(self, name: str) -> Self:
        """The place ``name`` in it."""

    def require_writable(self) -> None:
        """Raise now if nothing could be written later."""

    def read(self, name: str) -> bytes:
        """A file's content.

        :raises FileNotFoundError: if there is none.
        """

    def write(self, name: str, data: bytes) -> None:
        """Write a file; a reader sees the old one or the whole new one."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def move(self, name: str, to: str) -> None:
        """Rename the folder ``name`` to ``to``, and replace what is there; do nothing if there is none."""

    def names(self, deep: bool = False) -> list[str]:
        """The names of all files in it, and with ``deep`` those in its folders; sorted."""

    def clear(self) -> None:
        """Remove all that is in it, and itself."""

    def drop_if_empty(self) -> None:
        """Remove it, if nothing is left in it."""

    def send(self, name: str) -> None:
        """Store the folder that was made in ``local / name``."""

    def fetch(self, name: str) -> Path:
        """A folder of this machine with the files under ``name``."""

    def forget(self, name: str) -> bool:
        """Remove what this machine keeps of a folder, so that it is brought anew; returns whether there was any."""

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterable[R]:
        """Do ``work`` on many small files, as many at once as the place takes."""
