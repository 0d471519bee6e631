"""``autosparse report NAME``: the HTML page of an experiment."""

from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    name: Annotated[str, typer.Argument(help=f"The experiment: {common.NAMED}.")],
    out: Annotated[Path, typer.Option(help="Folder for index.html.")] = Path("report"),
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Write a self-contained HTML page from what MLflow holds; finished or not, it shows what is there."""
    from autosparse.report.page import write_report

    client, name = common.client_and_name(name, tracking_uri)
    page = write_report(client, name, out)
    if as_json:
        common.emit({"experiment": name, "page": str(page)})
    else:
        typer.echo(str(page))
