"""``autosparse report NAME``: the HTML page of an experiment."""

from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    name: Annotated[
        str, typer.Argument(help="Name of the experiment (the YAML's `name`, then `-PRESET` if it has presets).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for index.html.")] = Path("report"),
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Write a self-contained HTML page from what MLflow holds; finished or not, it shows what is there."""
    from autosparse.report.page import write_report
    from autosparse.tracking.client import connect

    page = write_report(connect(tracking_uri, must_exist=True), name, out)
    if as_json:
        common.emit({"experiment": name, "page": str(page)})
    else:
        typer.echo(str(page))
