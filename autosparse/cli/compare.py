"""``autosparse compare A B``: two experiments, or two methods of one, paired by seed."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from autosparse.cli import common


def compare(
    a: Annotated[
        str, typer.Argument(help=f"An experiment: {common.NAMED}. With --experiment, a method or scorer of it.")
    ],
    b: Annotated[str, typer.Argument(help="What to compare it with.")],
    experiment: Annotated[str | None, typer.Option(help="A and B are methods of this experiment.")] = None,
    metric: Annotated[str, typer.Option(help="Any metric of a cell, e.g. best_accuracy.")] = "test_accuracy",
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
    as_csv: common.Csv = False,
) -> None:
    """Mean differences A - B over the seeds that both have, with 95 % confidence intervals."""
    from autosparse.results.winners import compare as ask

    client, a, b, experiment = common.two_named(a, b, experiment, tracking_uri)
    rows = ask(client, a, b, experiment, metric)
    title = f"{metric}: A {a}, B {b}; A - B ± half of its 95% interval over common seeds, * for p < 0.05 (Holm)"
    brief = functools.partial(_shown, common.digits_of(row[side] for row in rows for side in "ab"))
    common.listing_with_notes(rows, title, as_json, as_csv, brief)


def _shown(digits: int, row: Mapping[str, Any]) -> dict[str, str]:
    """The row for the terminal, in few columns."""
    difference = common.plus_minus(row["difference"], row["half_width"], digits)
    return {
        "network": f"{row['model']} on {row['dataset']}",
        "sparsity": f"{row['sparsity']:g}",
        "settings": row["settings"],
        "method": row["method"],
        "A": f"{row['a']:.{digits}f}",
        "B": f"{row['b']:.{digits}f}",
        "A - B": f"{difference} ({row['pairs']})" + (" *" if row["significant"] else ""),
        "p": "" if row["p"] is None else f"{row['p']:.2g}",
    }
