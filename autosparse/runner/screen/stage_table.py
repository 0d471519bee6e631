"""The table of stages that ``autosparse run`` and ``autosparse watch`` show."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Line:
    """The state of one stage, in numbers of tasks; None if a number is not known."""

    name: str
    done: int
    failed: int
    to_do: int
    """Neither finished nor running."""
    running: int | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    latest: str | None = None
    """The last number reported, such as an accuracy."""

    def __str__(self) -> str:
        """The same in words, for a log."""
        counts = [f"{self.done} of {self.done + self.failed + self.to_do + (self.running or 0)} done"]
        counts += [f"{count} {word}" for count, word in ((self.running, "running"), (self.failed, "failed")) if count]
        times = [f"after {duration(self.seconds)}"] if self.seconds is not None else []
        times += [f"about {duration(self.seconds_left)} left"] if self.seconds_left is not None else []
        return f"{self.name}: {', '.join(counts + times)}" + (f"; {self.latest}" if self.latest else "")


def stage_table(lines: Iterable[Line], title: str = "") -> Table:
    """A table with one row per stage, within 80 columns; a value that no stage knows has no column."""
    rows = [
        {
            "stage": line.name,
            "done": line.done,
            "running": line.running,
            "failed": f"[red]{line.failed}[/red]" if line.failed else 0,
            "to do": line.to_do,
            "elapsed": None if line.seconds is None else duration(line.seconds),
            "time left": "" if line.seconds_left is None else duration(line.seconds_left),
            "latest": line.latest,
        }
        for line in lines
    ]
    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=False, pad_edge=False, title=escape(title) or None)
    columns = [name for name in (rows[0] if rows else ()) if any(row[name] is not None for row in rows)]
    for column in columns:
        table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    return table


def duration(seconds: float) -> str:
    """The seconds in words: ``1 h 05 min``, ``12 min``, ``30 s``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
