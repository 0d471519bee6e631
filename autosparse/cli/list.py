"""``autosparse list``: the models, data sets, criteria, features and experiments at hand."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from autosparse.cli import common

Rows = list[dict[str, Any]]
WHAT = ("models", "datasets", "criteria", "features", "experiments")


def show(
    what: Annotated[str, typer.Argument(help="What to list.", **common.among(*WHAT))],
    plugins: Annotated[
        str | None,
        typer.Option(
            help="Also what the plugins of this experiment file register, or this module (FILE.py); imports them.",
            metavar="FILE",
        ),
    ] = None,
    as_json: common.Json = False,
) -> None:
    """List models, datasets, criteria, features of formulas, or experiments: those here and those of autosparse."""
    if plugins is not None:
        from autosparse.experiment.files import import_plugins

        import_plugins(plugins)
    rows = _LISTINGS[what]()
    common.listing(rows if as_json else [_SHOWN.get(what, dict)(row) for row in rows], "", as_json)
    if what in _HINTS and not as_json:
        typer.echo(_HINTS[what], err=True)


def _models() -> Rows:
    from autosparse.models import MODELS
    from autosparse.models.signature import defaults_of
    from autosparse.registry import first_line

    known = {name: (first_line(MODELS[name]), defaults_of(MODELS[name])) for name in MODELS}
    elsewhere = {
        "torchvision:NAME": "Any classification network of torchvision.models, untrained.",
        "timm:NAME": "Any network of timm, untrained, if the extra timm is installed.",
        "package.module:factory": "Your own (num_classes, input_shape) -> nn.Module, beside the experiment file or "
        "installed; what else it takes are arguments.",
    }
    listed = {**known, **{name: (summary, {}) for name, summary in elsewhere.items()}}
    return [{"name": name, "summary": summary, "arguments": found} for name, (summary, found) in listed.items()]


def _shown_model(row: dict[str, Any]) -> dict[str, Any]:
    """The row for the terminal, its arguments as a name may have them."""
    from autosparse.models.arguments import literal

    found = ", ".join(f"{name}={literal(default)}" for name, default in row["arguments"].items())
    return {"name": row["name"], "summary": row["summary"] + (f"\narguments: {found}" if found else "")}


def _datasets() -> Rows:
    from autosparse.data import DATASETS

    return [{"name": DATASETS[name].usage, "summary": DATASETS[name].summary} for name in DATASETS]


def _criteria() -> Rows:
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


def _shown_criterion(row: dict[str, Any]) -> dict[str, Any]:
    """The row for the terminal, in two columns; the second has a line for each kind of thing."""
    mode = f"mode ({row['mode']})"
    options = [mode if name == "mode" and row["mode"] else name for name in row["options"]]
    parts = [
        row["summary"],
        f"needs: {', '.join(row['needs'])}" if row["needs"] else "",
        f"options: {', '.join(options)}" if options else "",
        f"paper: {row['paper']}" if row["paper"] else "",
    ]
    return {"name": row["name"], "summary": "\n".join(part for part in parts if part)}


def _features() -> Rows:
    from autosparse.criteria.features import FEATURES

    features = [FEATURES[name] for name in FEATURES]
    return [{"name": f.name, "summary": f.summary, "needs": sorted(f.needs)} for f in features]


def _experiments() -> Rows:
    from autosparse.experiment.files import local_files, shipped_files

    local, shipped = local_files(), shipped_files()
    here = [str(path) for path in local.values()]
    return [_experiment(file) for file in (*here, *(name for name in shipped if name not in local))]


def _experiment(file: str) -> dict[str, Any]:
    """Name and description of a file, which is given as ``autosparse run`` takes it."""
    from autosparse.errors import AutosparseError
    from autosparse.experiment.load import load_experiment
    from autosparse.plugins import withholding

    try:
        with withholding():  # so that listing a file does not run the code it names
            found = load_experiment(file).paper
    except AutosparseError as error:
        return {"file": file, "name": None, "description": f"(refused) {str(error).splitlines()[0]}"}
    return {"file": file, "name": found.name, "description": found.description}


_LISTINGS: dict[str, Callable[[], Rows]] = dict(
    zip(WHAT, (_models, _datasets, _criteria, _features, _experiments), strict=True)
)
_SHOWN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "models": _shown_model,
    "criteria": _shown_criterion,
    "experiments": lambda row: {"file": row["file"], "description": row["description"]},
}
"""What a terminal shows of a row, if that is not all of it."""
_HINTS = {
    "models": "arguments go in parentheses, 'resnet20(width=32)', or in a file as {name: resnet20, width: 32}",
    "experiments": "`autosparse run FILE` takes each of them",
}
"""What a terminal says on stderr after a listing."""
