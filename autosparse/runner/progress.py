"""What the user sees while work runs: one line per stage and a bar, on stderr."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from autosparse.errors import AutosparseError
from autosparse.experiment.space import SweepTask
from autosparse.experiment.tasks import IrpTask, ScorerTask, Task


class Talk:
    """Lines and bars on stderr; stdout is left to results."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True, highlight=False)
        self._warned = False

    def say(self, line: str) -> None:
        """One line of what is happening."""
        self.console.print(f"[dim]-[/dim] {line}", soft_wrap=True)

    def warn(self, line: str) -> None:
        """One line that should be read."""
        self.console.print(f"[yellow]warning:[/yellow] {line}", soft_wrap=True)

    def guard(self, write: Callable[[], Any]) -> None:
        """Do something that may fail now because it will be done again at the end; say so once."""
        try:
            write()
        except AutosparseError as error:
            if not self._warned:
                self.warn(str(error))
            self._warned = True

    @contextlib.contextmanager
    def stage(self, title: str, tasks: Sequence[Task]) -> Iterator["Bar"]:
        """A bar over the steps of ``tasks``; at its end, a line with the time it took."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("[dim]left[/dim]"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}[/dim]"),
        )
        self.say(f"{title}: {_count(tasks)}")
        started = time.monotonic()
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            bar = progress.add_task(title, total=sum(map(_steps, tasks)), unit=_unit(tasks), note="")
            yield Bar(progress, bar, whole=_steps(tasks[0]) == 1)
        self.say(f"{title}: done in {time.monotonic() - started:.0f} s")


class Bar:
    """The bar of one stage, moved by workers' reports."""

    def __init__(self, progress: Progress, bar: TaskID, whole: bool):
        self.progress, self.bar, self.whole = progress, bar, whole

    def advance(self, event: dict[str, Any]) -> None:
        """Move by the steps that the event tells of, and show the latest number."""
        if event.get("event") == ("done" if self.whole else "progress"):
            note = f"accuracy {event['accuracy']:.2f} %" if "accuracy" in event else ""
            self.progress.update(self.bar, advance=len(event["task_ids"]) if self.whole else 1, note=note)


def _steps(task: Task) -> int:
    if isinstance(task, IrpTask):
        return task.iterations
    if isinstance(task, SweepTask):
        return task.size
    return task.fit.epochs if isinstance(task, ScorerTask) else 1


def _unit(tasks: Sequence[Task]) -> str:
    return {"irp": "iterations", "sweep": "trials", "scorer": "epochs", "cell": "cells"}[tasks[0].kind]


def _count(tasks: Sequence[Task]) -> str:
    noun = {"irp": "run", "sweep": "sweep", "scorer": "fit", "cell": "cell"}[tasks[0].kind]
    return f"{len(tasks)} {noun}{'' if len(tasks) == 1 else 's'}"
