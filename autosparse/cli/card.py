"""``autosparse card DIR``: the README.md of a scorer or of survival data, as the Hugging Face Hub shows it."""

from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common


def card(
    folder: Annotated[Path, typer.Argument(help="A scorer, or survival datasets.")],
    experiment: Annotated[
        str | None, typer.Option(help="Take the scorer's accuracies from this one [default: all in MLflow]")
    ] = None,
    tracking_uri: common.TrackingUri = None,
    write: Annotated[bool, typer.Option("--write", help="Write README.md there, instead of printing it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a README.md that somebody has edited.")] = False,
) -> None:
    """Make the card of a scorer or of survival data; nothing is uploaded."""
    from autosparse.report.card import write_card

    place, text = _made(folder, experiment, tracking_uri)
    typer.echo(str(write_card(place, text, force)) if write else text, nl=write)


def _made(folder: Path, experiment: str | None, tracking_uri: str | None) -> tuple[Path, str]:
    """Where the card belongs, and the card."""
    from autosparse.autos import load_scorer
    from autosparse.autos.scorer import CONFIG
    from autosparse.errors import AutosparseError
    from autosparse.report.card_scorer import scorer_card
    from autosparse.report.card_survival import survival_card
    from autosparse.results.named import experiment_called
    from autosparse.results.of_scorer import measured_with
    from autosparse.tracking.client import connect

    place = folder / "scorer" if (folder / "scorer" / CONFIG).is_file() else folder
    name = folder.resolve().name
    if not (place / CONFIG).is_file():
        return folder, survival_card(folder, name)
    scorer = load_scorer(place)
    try:
        client = connect(tracking_uri, must_exist=True)
    except AutosparseError:
        if experiment is not None or tracking_uri is not None:
            raise
        typer.echo("no MLflow store here: the card has only the figures of the fit", err=True)
        return place, scorer_card(scorer, name)
    if experiment is not None:
        experiment = experiment_called(client, experiment)
    return place, scorer_card(scorer, name, measured_with(client, place, experiment))
