"""What one process knows about the records of a storage, so that it need not ask the storage again."""

from collections.abc import Mapping
from typing import NamedTuple

from autosparse.experiment.lineage import Made


class Whole(NamedTuple):
    """A record that was read and found whole."""

    ground: Mapping[str, str]
    """See :meth:`autosparse.experiment.lineage.Lineage.ground`."""
    stamp: int | None
    """The stamp of its file then; None if the place does not tell it, or if it has no file of its own."""


class Board:
    """Notes of one process: which records exist, which of them were whole when read, and what workers have reported.

    A note never makes a task finished. Only its record does; the board says which records need not be read again.
    """

    def __init__(self) -> None:
        self.whole: dict[str, Whole] = {}
        self.made: dict[str, Made] = {}
        self.listed: dict[str, dict[str, int | None]] = {}
        """The stamps of a folder's files by the ids of their tasks: as last listed, with what was written since."""
        self.told: set[str] = set()
        """Ids of the tasks whose records workers say they have written; without those forgotten since."""
        self._codes: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}

    def saw(self, task_id: str, ground: Mapping[str, str], stamp: int | None, made: Made) -> None:
        """Note that a record was read and is whole."""
        code = self._codes.setdefault(tuple(sorted(made.code.items())), made.code)  # a million cells share one
        self.whole[task_id], self.made[task_id] = Whole(ground, stamp), made._replace(code=code)

    def wrote(self, folder: str, task_id: str) -> None:
        """Note that this process has written a record: what was known about an earlier one is out of date."""
        self.doubt(task_id)
        if folder in self.listed:
            self.listed[folder][task_id] = None

    def forget(self, folder: str, task_id: str) -> None:
        """Note that a record has gone."""
        self.doubt(task_id)
        self.listed.get(folder, {}).pop(task_id, None)

    def doubt(self, task_id: str) -> None:
        """Forget that a record was whole: it has to be read again."""
        self.whole.pop(task_id, None)
        self.made.pop(task_id, None)
        self.told.discard(task_id)
