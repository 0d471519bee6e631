"""The protocol of a place for finished work: files that are whole or absent, by name."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Place(Protocol):
    """A folder, or a prefix in an object store. Names are relative, with ``/``.

    What is too large for memory is written and read in folders of this machine, under ``local``: :meth:`send` puts them
    into an object store, :meth:`fetch` gets them from there.
    """

    address: str
    local: Path

    def within(self, name: str) -> Self:
        """The place ``name`` within this one."""

    def require_writable(self) -> None:
        """Raise now if nothing could be written later."""

    def read(self, name: str) -> bytes:
        """A file's content.

        :raises FileNotFoundError: if there is none.
        """

    def read_part(self, name: str, start: int, length: int) -> bytes:
        """``length`` bytes of a file, or as many as there are.

        :param start: where they begin; a negative number counts from the end of the file.
        :raises FileNotFoundError: if there is none.
        """

    def bring(self, name: str) -> AbstractContextManager[Path | IO[bytes]]:
        """A file of any size on this machine, which may be read while the block runs.

        :raises FileNotFoundError: if there is none.
        """

    def made(self, name: str) -> AbstractContextManager[Path]:
        """A path of this machine to write a file of any size to; it is stored as ``name`` if the block ends well."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file; a reader sees the old one or the whole new one."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def move(self, name: str, to: str) -> None:
        """Rename the folder ``name`` to ``to``, and replace what is there; do nothing if there is no such folder."""

    def names(self, deep: bool = False) -> list[str]:
        """The names of all files in the place, with ``deep`` also those in its folders; sorted."""

    def stamps(self) -> dict[str, int]:
        """A stamp of each file in the place, without those in its folders; a file that is replaced gets another."""

    def read_stamped(self, name: str) -> tuple[bytes, int | None]:
        """The content of a file and its stamp then; None for the stamp if the place does not tell it."""

    def stamp(self, name: str) -> int | None:
        """The stamp of one file; None if there is no such file, or if asking for it would be one more request."""

    def clear(self) -> None:
        """Remove the place with everything in it."""

    def drop_if_empty(self) -> None:
        """Remove the place if nothing is left in it."""

    def send(self, name: str) -> None:
        """Store the folder that was made in ``local / name``."""

    def fetch(self, name: str) -> Path:
        """A folder of this machine with the files under ``name``."""

    def forget(self, name: str) -> bool:
        """Remove this machine's copy of a folder, so that it is fetched again; return whether there was one."""

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterable[R]:
        """Do ``work`` on many small files, as many at once as the place takes."""
