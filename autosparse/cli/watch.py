"""``autosparse watch NAME``: how far an experiment is."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from autosparse.cli import common

if TYPE_CHECKING:
    from rich.table import Table

    from autosparse.tracking.progress import Progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(
    name: Annotated[str, typer.Argument(help="Name of the experiment.")],
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 5.0,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Follow an experiment that runs anywhere, until it ends; Ctrl-C stops the watching alone."""
    from rich.live import Live

    from autosparse.tracking.client import connect
    from autosparse.tracking.progress import progress_of

    client = connect(tracking_uri, must_exist=True)
    progress = progress_of(client, name)
    if as_json:
        common.emit(asdict(progress))
        return
    if once:
        common.out().print(drawn(name, progress))
        return
    with Live(drawn(name, progress), console=common.out(), auto_refresh=False) as live:
        while not progress.over:
            time.sleep(every)
            progress = progress_of(client, name)
            live.update(drawn(name, progress), refresh=True)


def drawn(name: str, progress: "Progress") -> "Table":
    """The table that is shown."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("stage", "total", "done", "failed", "to do", "time left", title=f"{escape(name)}: {progress.status}")
    for stage in progress.stages:
        if stage.total:
            left = "" if stage.seconds_left is None else duration(stage.seconds_left)
            counts = (stage.total, stage.done, stage.failed, max(0, stage.total - stage.done - stage.failed))
            table.add_row(stage.name, *map(str, counts), left)
    return table


def duration(seconds: float) -> str:
    """``1 h 05 min``, ``12 min``, ``30 s``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
