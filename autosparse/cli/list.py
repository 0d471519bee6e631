"""``autosparse list``: the models, data sets, criteria, features and experiments at hand."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from autosparse.cli import common
from autosparse.cli.demo import demo_file


class What(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    criteria = "criteria"
    features = "features"
    experiments = "experiments"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list")(show)


def show(what: Annotated[What, typer.Argument(help="What to list.")], as_json: common.Json = False) -> None:
    """List models, datasets, criteria, features of formulas, or the experiment files in ./experiments."""
    rows = _LISTINGS[what]()
    if rows or as_json:
        common.listing(rows, "", as_json)
    else:
        typer.echo(f"no {what} here")


def _models() -> list[dict[str, Any]]:
    from autosparse.models import MODELS
    from autosparse.registry import first_line

    ours = [{"name": name, "summary": first_line(MODELS[name])} for name in MODELS]
    return [
        *ours,
        {"name": "torchvision:NAME", "summary": "Any classification network of torchvision.models, untrained."},
        {"name": "timm:NAME", "summary": "Any network of timm, untrained, if the extra timm is installed."},
        {
            "name": "package.module:factory",
            "summary": "Your own (num_classes, input_shape) -> nn.Module, if it can be imported.",
        },
    ]


def _datasets() -> list[dict[str, Any]]:
    from autosparse.data import DATASETS

    return [{"name": DATASETS[name].usage, "summary": DATASETS[name].summary} for name in DATASETS]


def _criteria() -> list[dict[str, Any]]:
    from autosparse.criteria import CRITERIA

    criteria = [CRITERIA[name] for name in CRITERIA]
    return [
        {
            "name": c.name,
            "summary": c.summary,
            "needs": sorted(c.needs),
            "mode": c.mode,
            "options": c.options,
            "paper": c.paper,
        }
        for c in criteria
    ]


def _features() -> list[dict[str, Any]]:
    from autosparse.criteria.features import FEATURES

    features = [FEATURES[name] for name in FEATURES]
    return [{"name": f.name, "summary": f.summary, "needs": sorted(f.needs)} for f in features]


def _experiments() -> list[dict[str, Any]]:
    from autosparse.errors import AutosparseError
    from autosparse.experiment.load import load_experiment
    from autosparse.plugins import withholding

    rows = []
    for path in [demo_file(), *sorted(Path("experiments").rglob("*.yaml"))]:
        try:
            with withholding():  # so that listing a file does not run the code it names
                experiment = load_experiment(path).paper
            name, description = experiment.name, experiment.description
        except AutosparseError as error:
            name, description = "(refused)", str(error).splitlines()[0]
        shown = "(built in: autosparse demo)" if path == demo_file() else str(path)
        rows.append({"name": name, "file": shown, "description": description})
    return rows


_LISTINGS: dict[What, Callable[[], list[dict[str, Any]]]] = {
    What.models: _models,
    What.datasets: _datasets,
    What.criteria: _criteria,
    What.features: _features,
    What.experiments: _experiments,
}
