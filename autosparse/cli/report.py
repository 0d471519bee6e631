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
    told: dict[str, str]
    if compare is not None:
        from autosparse.report.page_compared import write_comparison

        client, a, b, name = common.two_named(*compare, name, tracking_uri)
        told = {} if name is None else {"experiment": name}
        told |= {"a": a, "b": b, "page": str(write_comparison(client, a, b, out or COMPARED, name))}
    elif name is not None:
        from autosparse.report.page import write_report

        client, name = common.client_and_name(name, tracking_uri)
        told = {"experiment": name, "page": str(write_report(client, name, out or ALONE))}
    else:
        raise AutosparseError("no experiment given: name one, or give two after --compare")
    common.tell(told, told["page"], as_json)
