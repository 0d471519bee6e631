"""``autosparse report NAME``: the HTML page of an experiment; with ``--compare A B``, of two beside each other."""

from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common
from autosparse.errors import AutosparseError

ALONE, COMPARED = Path("report"), Path("comparison")
"""Folders for the pages, unless told otherwise."""


def report(
    name: Annotated[str | None, typer.Argument(help=f"The experiment: {common.NAMED}.")] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Two experiments beside each other; after an experiment, two of its methods or scorers.", metavar="A B"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help=f"Folder for index.html [default: {ALONE}, with --compare {COMPARED}]")
    ] = None,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Write a self-contained HTML page from what MLflow holds; finished or not, it shows what is there."""
    if compare is not None:
        told = _compared(name, *compare, out or COMPARED, tracking_uri)
    elif name is not None:
        from autosparse.report.page import write_report

        client, name = common.client_and_name(name, tracking_uri)
        told = {"experiment": name, "page": str(write_report(client, name, out or ALONE))}
    else:
        raise AutosparseError("of which experiment? Name it, or two of them after --compare")
    if as_json:
        common.emit(told)
    else:
        typer.echo(told["page"])


def _compared(experiment: str | None, a: str, b: str, out: Path, tracking_uri: str | None) -> dict[str, str]:
    """Write the page that compares two experiments, or two methods of one."""
    from autosparse.report.page_compared import write_comparison

    client, first = common.client_and_name(experiment or a, tracking_uri)
    if experiment is None:
        a, b = first, common.client_and_name(b, tracking_uri)[1]
        return {"a": a, "b": b, "page": str(write_comparison(client, a, b, out))}
    return {"experiment": first, "a": a, "b": b, "page": str(write_comparison(client, a, b, out, first))}
