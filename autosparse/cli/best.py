"""``autosparse best``: which method wins, according to MLflow."""

from typing import Annotated, Any

import typer

from autosparse.cli import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("best")(best)


def best(
    experiment: Annotated[
        str, typer.Option(help="Name of the experiment (the YAML's `name`, then `-PRESET` if it has presets).")
    ],
    metric: Annotated[str, typer.Option(help="Any metric of a cell, e.g. best_accuracy.")] = "test_accuracy",
    sparsity: Annotated[float | None, typer.Option(help="Only cells at this sparsity.", min=0, max=1)] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="Any of method, sparsity, model, dataset; comma-separated. The mean is over those left out "
            "[default: method, sparsity, and model and dataset if there are several]",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int | None, typer.Option(help="Only the first so many.", min=1)] = None,
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
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
    as_csv: common.Csv = False,
) -> None:
    """Mean and standard deviation over seeds, best first."""
    from autosparse.results.best import best as ask
    from autosparse.results.winners import winners as ask_winners
    from autosparse.tracking.client import connect

    if sweep:
        from autosparse.results.best_trials import best_trials

        rows = best_trials(connect(tracking_uri, must_exist=True), experiment, sweep)[:top]
        trials = rows if as_json or as_csv else [_trial(row) for row in rows]
        common.listing(trials, f"{experiment}: {sweep} ({rows[0]['metric']})", as_json, as_csv)
        return
    if winners or scorers:
        rows = ask_winners(connect(tracking_uri, must_exist=True), experiment, metric, sparsity, scorers)
        title = f"{experiment}: {metric} ± half of its 95% interval (seeds); lead over the next, paired by seed"
        shown = rows[:top] if as_json or as_csv else [_shown(row) for row in rows[:top]]
        common.listing(shown, title, as_json, as_csv)
        return
    groups = None if group_by is None else [group.strip() for group in group_by.split(",")]
    rows = ask(connect(tracking_uri, must_exist=True), experiment, metric, sparsity, groups, top)
    shown = rows if as_json else [{key: value for key, value in row.items() if key != "metric"} for row in rows]
    common.listing(shown, f"{experiment}: {metric}", as_json, as_csv)


def _trial(row: dict[str, Any]) -> dict[str, Any]:
    """The row for the terminal: in few digits, and without the metric, which the title names."""
    digits = {name: f"{value:.4g}" for name, value in row.items() if isinstance(value, float)}
    return {name: digits.get(name, value) for name, value in row.items() if name != "metric"}


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """The row for the terminal, in few columns."""
    lead = "" if row["lead"] is None else common.plus_minus(row["lead"], row["lead_half_width"])
    return {
        "network": f"{row['model']} on {row['dataset']}",
        "sparsity": f"{row['sparsity']:g}",
        "settings": row["settings"],
        "best": row["best"],
        "mean": f"{common.plus_minus(row['mean'], row['half_width'])} ({row['n']})",
        "next": row["next"] or "",
        "lead": lead + (" *" if row["significant"] else ""),
        "p": "" if row["p"] is None else f"{row['p']:.2g}",
    }
