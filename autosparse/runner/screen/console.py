"""Show the progress of work: a table of the stages on a terminal, and elsewhere a line now and then."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from autosparse.errors import AutosparseError
from autosparse.experiment.stages import OF_KIND
from autosparse.experiment.tasks import Task
from autosparse.runner.jobs.cost import ALIKE, Weights
from autosparse.runner.screen.stage_table import stage_table
from autosparse.runner.screen.tally import Tally

LOOK_EVERY = 1.0
"""Seconds between two looks at whether a line is due."""


class Screen:
    """Lines and a live table on stderr; stdout is left to results.

    :param quiet: print nothing but warnings.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False):
        self.quiet = quiet
        self.console = console or Console(stderr=True, highlight=False)
        self._tallies: dict[str, Tally] = {}
        self._warned = False

    def say(self, line: str) -> None:
        """Print a line about what is happening."""
        if not self.quiet:
            self.console.print(f"[dim]-[/dim] {escape(line)}", soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a line that the user should read."""
        self.console.print(f"[yellow]warning:[/yellow] {escape(line)}", soft_wrap=True)

    def guard(self, write: Callable[[], Any]) -> None:
        """Do something that may fail; the end of the run does it again. Warn only once."""
        try:
            write()
        except AutosparseError as error:
            if not self._warned:
                self.warn(str(error))
            self._warned = True

    def expect(self, name: str, total: int, found: int, failed: int = 0) -> None:
        """Give a coming stage a row in the table: ``total`` tasks, of which ``found`` are finished.

        :param failed: how many of them an earlier run marked as failed, and this one leaves alone.
        """
        if total:
            self._tallies[name] = Tally(name, total, found, failed)

    @contextlib.contextmanager
    def stage(self, title: str, tasks: Sequence[Task], weights: Weights = ALIKE) -> Iterator[Tally]:
        """Show the progress of ``tasks``, all of one kind, while the block runs; then print how long it took.

        The tally that it yields takes in the reports of workers: ``tally.advance({"running": [...], "share": 0.5})``.

        :param weights: costs of the tasks in any unit, to estimate the time left.
        """
        stage = OF_KIND[tasks[0].kind]
        tally = self._tallies.setdefault(stage.name, Tally(stage.name, len(tasks)))
        self.say(f"{title}: {len(tasks)} {stage.noun}{'' if len(tasks) == 1 else 's'}")
        tally.start(tasks, weights)
        started = time.monotonic()
        alive = not self.quiet and self.console.is_terminal and not self.console.is_dumb_terminal
        try:
            with self._table() if alive else self._lines(tally):
                yield tally
        finally:
            tally.stop()
        failed = tally.line.failed - tally.failed_before
        self.say(f"{title}: done in {time.monotonic() - started:.0f} s{f', {failed} failed' if failed else ''}")

    def _table(self) -> Live:
        """The table, redrawn in place and removed at the end."""
        return Live(
            get_renderable=lambda: stage_table(tally.line for tally in self._tallies.values()),
            console=self.console,
            transient=True,
            refresh_per_second=2,
        )

    @contextlib.contextmanager
    def _lines(self, tally: Tally) -> Iterator[None]:
        """Print lines from a second thread, because workers may report nothing for an hour."""
        over = threading.Event()
        thread = threading.Thread(target=self._tell, args=(tally, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _tell(self, tally: Tally, over: threading.Event) -> None:
        began = told = time.monotonic()
        share = 0.0
        while not over.wait(LOOK_EVERY):
            now = time.monotonic()
            if due(tally.share - share, now - told, now - began):
                self.say(str(tally.line))
                share, told = tally.share, now


def due(share: float, since: float, elapsed: float) -> bool:
    """Whether a log is due another line.

    :param share: share of the work done since the last line; a tenth makes one due, but not within five seconds.
    :param since: seconds since the last line; a line is due after a minute; in a long stage, after a tenth of the
        elapsed time, but after ten minutes at most.
    """
    return (share >= 0.1 and since >= 5) or since >= min(max(60, elapsed / 10), 600)
