"""``autosparse watch NAME``: how far an experiment is."""

import time
import webbrowser
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from autosparse.cli import common
from autosparse.errors import Unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from rich.table import Table

    from autosparse.results.progress import Progress

PATIENCE = 600.0
"""Seconds without an answer after which watching ends."""
UNREAD = 3
"""With ``--web``, stop redrawing after this many looks without a browser request."""


def watch(
    name: Annotated[str, typer.Argument(help=f"The experiment: {common.NAMED}.")],
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 5.0,
    web: Annotated[
        bool, typer.Option("--web", help="Serve the page of `autosparse report` to this machine, live, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="With --web, the port on 127.0.0.1 [default: a free one]", min=1, max=65535)
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="With --web, open the page in the browser.")] = False,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Follow an experiment that runs anywhere, until it ends; Ctrl-C stops only the watching."""
    if web and (once or as_json):
        raise typer.BadParameter("--web goes on until Ctrl-C: leave out --once and --json")
    if (port or open_it) and not web:
        raise typer.BadParameter("--port and --open are for the page: add --web")
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from autosparse.results.progress import progress_of

    client, name = common.client_and_name(name, tracking_uri)
    if web:
        serve(client, name, every, PATIENCE, port or 0, open_it)
        return
    progress = progress_of(client, name)
    if as_json:
        common.emit(asdict(progress))
        return
    if once:
        common.out().print(drawn(name, progress))
        return
    answered = time.monotonic()
    with Live(drawn(name, progress), console=common.out(), auto_refresh=False) as live:
        while not progress.over:
            time.sleep(every)
            try:
                progress = progress_of(client, name)
            except Unreachable as error:  # probably temporary; the experiment itself continues
                if time.monotonic() - answered > PATIENCE:
                    raise
                line = Text(str(error), "yellow", no_wrap=True, overflow="ellipsis")
                live.update(Group(drawn(name, progress), line), refresh=True)
            else:
                answered = time.monotonic()
                live.update(drawn(name, progress), refresh=True)


def drawn(name: str, progress: "Progress") -> "Table":
    """The table of an experiment's stages."""
    from autosparse.experiment.stages import STAGES
    from autosparse.runner.screen.stage_table import Line, stage_table

    names = {stage.plural: stage.name for stage in STAGES}
    lines = []
    for stage in progress.stages:
        if stage.total:
            left = max(0, stage.total - stage.done - stage.failed)
            lines.append(Line(names[stage.name], stage.done, stage.failed, left, seconds_left=stage.seconds_left))
    return stage_table(lines, f"{name}: {progress.said}")


def serve(
    client: "MlflowClient", name: str, every: float, patience: float, port: int = 0, open_it: bool = False
) -> None:
    """Serve the page until Ctrl-C; it is drawn anew if MLflow has news, and if a browser asks for it.

    :param every: seconds between two looks at MLflow, at least. Drawing takes at most half of the time.
    :param patience: seconds without an answer from MLflow after which to give up.
    :param port: 0 for a free one.
    :raises AutosparseError: if the port is not available, or MLflow does not answer for too long.
    """
    from autosparse.report.live import LivePage
    from autosparse.report.server import PageServer

    page = LivePage(client, name, every)
    with PageServer(lambda: page.files, port) as server:
        page.look()
        typer.echo(server.url)
        if open_it:
            webbrowser.open(server.url)
        answered, took = time.monotonic(), 0.0
        while True:
            pause = max(every, took)
            time.sleep(pause)
            begun = time.monotonic()
            try:
                page.look(draw=begun - server.asked < UNREAD * max(pause, 5.0))
            except Unreachable as error:  # probably temporary; the experiment itself continues
                if time.monotonic() - answered > patience:
                    raise
                page.tell(str(error))
            else:
                answered = time.monotonic()
            took = time.monotonic() - begun
