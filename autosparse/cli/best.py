"""``autosparse best``: which method wins, according to MLflow."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autosparse.cli import common
from autosparse.errors import AutosparseError

if TYPE_CHECKING:
    from autosparse.results.frontier import Point

APART = {
    "--frontier": ("--winners", "--scorers", "--sweep", "--group-by"),
    "--sweep": ("--winners", "--scorers", "--group-by", "--sparsity"),
    "--winners": ("--group-by",),
    "--scorers": ("--group-by",),
}
"""Options that do not go with each of these."""


def best(
    experiment: common.ExperimentName,
    metric: Annotated[str, typer.Option(help="Any metric of a cell, e.g. best_accuracy.")] = "test_accuracy",
    sparsity: Annotated[float | None, typer.Option(help="Only cells at this sparsity.", callback=common.share)] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="Any of method, sparsity, model, dataset; comma-separated. The mean is over those left out "
            "[default: method, sparsity, and model and dataset if there are several]"
        ),
    ] = None,
    top: Annotated[int | None, typer.Option(help="Show only this many rows.", min=1)] = None,
    winners: Annotated[
        bool,
        typer.Option(
            "--winners", help="The best method at each model, dataset and sparsity, and how sure its lead is."
        ),
    ] = False,
    scorers: Annotated[
        bool, typer.Option("--scorers", help="The same for learned scorers alone: which one is best.")
    ] = False,
    sweep: Annotated[
        str | None, typer.Option(help="The trials of this sweep of the experiment: which settings are best.")
    ] = None,
    frontier: Annotated[
        bool,
        typer.Option(
            "--frontier",
            help="Accuracy against the cost of scoring and training, cheapest first; ★ marks the Pareto set.",
        ),
    ] = False,
    cost: Annotated[
        str | None, typer.Option(help="What --frontier counts: seconds, images or flops [default: seconds]")
    ] = None,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
    as_csv: common.Csv = False,
) -> None:
    """Mean and standard deviation over seeds, best first."""
    from autosparse.results.best import best as ask
    from autosparse.results.best import best_trials
    from autosparse.results.frontier import frontier as ask_frontier
    from autosparse.results.winners import winners as ask_winners

    if cost and not frontier:
        raise AutosparseError("--cost says what --frontier counts: add --frontier")
    given = {
        "--frontier": frontier, "--sweep": sweep, "--winners": winners, "--scorers": scorers,
        "--group-by": group_by, "--sparsity": sparsity is not None,
    }  # fmt: skip
    for option, others in APART.items():
        if given[option] and (beside := [name for name in others if given[name]]):
            raise AutosparseError(f"{beside[0]} does not go with {option}: ask for one after the other")
    client, experiment = common.client_and_name(experiment, tracking_uri)
    if frontier:
        points = ask_frontier(client, experiment, cost or "seconds", metric, sparsity)
        _print_frontier(points[:top], f"{experiment}: {metric}", as_json, as_csv)
        return
    if sweep:
        rows = best_trials(client, experiment, sweep)[:top]
        trials = rows if as_json or as_csv else [_trial(row) for row in rows]
        common.listing(trials, f"{experiment}: {sweep} ({rows[0]['metric']})", as_json, as_csv)
        return
    if winners or scorers:
        rows = ask_winners(client, experiment, metric, sparsity, scorers)
        title = f"{experiment}: {metric} ± half of its 95% interval (seeds); lead over the next, paired by seed"
        brief = functools.partial(_shown, common.digits_of(row["mean"] for row in rows))
        common.listing_with_notes(rows[:top], title, as_json, as_csv, brief)
        return
    groups = None if group_by is None else [group.strip() for group in group_by.split(",")]
    rows = ask(client, experiment, metric, sparsity, groups, top)
    shown = rows if as_json else [{key: value for key, value in row.items() if key != "metric"} for row in rows]
    brief = functools.partial(_mean, common.digits_of(row["mean"] for row in rows))
    common.listing_with_notes(shown, f"{experiment}: {metric}", as_json, as_csv, brief)


def _print_frontier(points: "list[Point]", title: str, as_json: bool, as_csv: bool) -> None:
    from autosparse.cli.frontier_table import table_rows, unknown_costs

    if as_json or as_csv:
        common.listing([point.row for point in points], title, as_json, as_csv)
        return
    told = f"{title} against {points[0].unit}. ★: in the Pareto set of pruned networks; ☆: in that of its sparsity"
    common.listing(table_rows(points), told)
    for line in unknown_costs(points):
        typer.echo(f"not known: {line}", err=True)


def _trial(row: dict[str, Any]) -> dict[str, Any]:
    """The row for the terminal: in few digits, and without the metric, which the title names."""
    digits = {name: f"{value:.4g}" for name, value in row.items() if isinstance(value, float)}
    return {name: digits.get(name, value) for name, value in row.items() if name != "metric"}


def _mean(digits: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row for the terminal, with its mean and deviation in so many digits after the point."""
    told = {name: row[name] for name in ("mean", "std")}
    return {**row, **{name: "" if value is None else f"{value:.{digits}f}" for name, value in told.items()}}


def _shown(digits: int, row: Mapping[str, Any]) -> dict[str, str]:
    """The row for the terminal, in few columns."""
    lead = "" if row["lead"] is None else common.plus_minus(row["lead"], row["lead_half_width"], digits)
    return {
        "network": f"{row['model']} on {row['dataset']}",
        "sparsity": f"{row['sparsity']:g}",
        "settings": row["settings"],
        "best": row["best"],
        "mean": f"{common.plus_minus(row['mean'], row['half_width'], digits)} ({row['n']})",
        "next": row["next"] or "",
        "lead": lead + (" *" if row["significant"] else ""),
        "p": "" if row["p"] is None else f"{row['p']:.2g}",
    }
