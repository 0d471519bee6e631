"""``autosparse best``: which method wins, asked of MLflow."""

from typing import Annotated

import typer

from autosparse.cli import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("best")(best)


def best(
    experiment: Annotated[str, typer.Option(help="Name of the experiment (the YAML's `name`).")],
    metric: Annotated[str, typer.Option(help="Any metric of a cell, e.g. best_accuracy.")] = "test_accuracy",
    sparsity: Annotated[float | None, typer.Option(help="Only cells at this sparsity.", min=0, max=1)] = None,
    group_by: Annotated[
        str, typer.Option(help="Of method, sparsity, model, dataset; comma-separated.")
    ] = "method,sparsity",
    top: Annotated[int | None, typer.Option(help="Only the first so many.", min=1)] = None,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Mean and standard deviation over seeds, best first."""
    from rich.table import Table

    from autosparse.tracking.client import connect
    from autosparse.tracking.query import best as ask

    groups = [group.strip() for group in group_by.split(",")]
    rows = ask(connect(tracking_uri, must_exist=True), experiment, metric, sparsity, groups, top)
    if as_json:
        common.emit(rows)
        return
    shown = [*groups, "settings"] if any(row["settings"] for row in rows) else groups
    table = Table(*shown, "n", f"{metric} (mean)", "std", title=f"{experiment}: {metric}")
    for row in rows:
        std = "" if row["std"] is None else f"{row['std']:.2f}"
        table.add_row(*(str(row[column]) for column in shown), str(row["n"]), f"{row['mean']:.2f}", std)
    common.out().print(table)
