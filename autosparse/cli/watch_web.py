"""``autosparse watch NAME --web``: the report's page, live, for a browser of this machine."""

import time
import webbrowser
from typing import TYPE_CHECKING

import typer

from autosparse.errors import Unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

READ = 3
"""Looks after which a page that nobody has asked for is no longer drawn anew."""


def serve(
    client: "MlflowClient", name: str, every: float, patience: float, port: int = 0, open_it: bool = False
) -> None:
    """Serve the page until Ctrl-C; it is drawn anew if MLflow has news, and if a browser asks for it.

    :param every: seconds between two looks at MLflow, at least. Drawing takes at most half of the time.
    :param patience: seconds without an answer from MLflow after which to give up.
    :param port: 0 for a free one.
    :raises AutosparseError: if the port cannot be had, or MLflow does not answer for long.
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
                page.look(draw=begun - server.asked < READ * max(pause, 5.0))
            except Unreachable as error:  # for a moment: the experiment goes on
                if time.monotonic() - answered > patience:
                    raise
                page.tell_absence(error)
            else:
                answered = time.monotonic()
            took = time.monotonic() - begun
