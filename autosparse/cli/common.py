"""What the commands share: options, settings, JSON, exit codes."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from autosparse.errors import nearest_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from autosparse.autos import Scorer

NAMED = "its file as `autosparse run` takes it, or the YAML's `name`, then `-PRESET` if it has presets"
"""How to name an experiment that MLflow holds."""
ExperimentName = Annotated[str, typer.Option(help=f"The experiment: {NAMED}.")]
Storage = Annotated[
    str,
    typer.Option(
        help="Where finished work goes: a folder, which all nodes of a cluster share, or s3:// or gs://bucket/prefix.",
        envvar="AUTOSPARSE_STORAGE",
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(help="MLflow server or store [default: sqlite:///mlflow.db here]", envvar="MLFLOW_TRACKING_URI"),
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of the data sets [default: ./data]", envvar="AUTOSPARSE_DATA")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch a data set that is missing, if it can be fetched.")]
Address = Annotated[
    str | None, typer.Option(help="Address of a running Ray cluster [default: a local Ray]", envvar="RAY_ADDRESS")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto: the GPU if there is one, else the CPU.")]
Workers = Annotated[int | None, typer.Option(help="Jobs at a time [default: one per CPU]", min=1)]
GpusPerJob = Annotated[
    float, typer.Option(help="GPUs that each job takes, or a share of one: at 0.25 four jobs share it.", min=0)
]
LabelSelector = Annotated[
    list[str] | None,
    typer.Option(help="KEY=VALUE: jobs go only to nodes with this label of `ray start --labels`; again for more."),
]
Precision = Annotated[
    str, typer.Option(help="Precision of training: float32, bfloat16, or auto, which is bfloat16 on GPUs that have it.")
]
CudaGraphs = Annotated[
    bool, typer.Option("--cuda-graphs", help="On a GPU, replay training steps as CUDA graphs; experimental.")
]
Compact = Annotated[
    str,
    typer.Option(
        help="Train masked networks by smaller ones that compute the same: on, off, or auto: on CPUs, if pruning "
        "removes enough."
    ),
]
RedoChanged = Annotated[
    bool, typer.Option("--redo-changed", help="Redo results whose data, or your own code behind them, have changed.")
]
Rehearsal = Annotated[
    bool,
    typer.Option(
        "--rehearsal/--no-rehearsal",
        help="Before anything starts, try each model, data set and criterion of yours on one batch.",
    ),
]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, and only that, on stdout.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and only that, on stdout.")]

STORAGE = "results"


def share(value: float | None) -> float | None:
    """Check an option that is a share; a callback for typer."""
    if value is not None and not 0 <= value <= 1:
        meant = f": {value / 100:g}?" if 1 < value <= 100 else ""
        raise typer.BadParameter(f"{value:g} is not between 0 and 1{meant}")
    return value


def among(*names: str) -> dict[str, Any]:
    """What typer needs to know of an option or argument that takes one of ``names``."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in names:
            nearest = nearest_name(value, names)
            hint = f"; did you mean {nearest!r}?" if nearest else ""
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(names)}{hint}")
        return value

    return {"callback": check, "metavar": "|".join(names), "autocompletion": lambda: list(names)}


def out() -> Console:
    """A console on stdout, for results."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def emit(value: Any) -> None:
    """Print ``value`` as JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def tell(value: Any, text: str, as_json: bool) -> None:
    """Print ``value`` as JSON, or else ``text``, which says the same to people."""
    if as_json:
        emit(value)
    else:
        typer.echo(text)


def command(name: str) -> str:
    """``name`` as the user can type it: with its folder if that is not on the PATH."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    if (found and Path(found).resolve() == beside.resolve()) or not beside.exists():
        return name
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)


def listing(rows: Sequence[Mapping[str, Any]], title: str, as_json: bool = False, as_csv: bool = False) -> None:
    """Print rows with the same keys as JSON, as CSV, or as a table without its empty columns."""
    if as_json:
        emit(list(rows))
        return
    if as_csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    from rich.markup import escape
    from rich.table import Table

    columns = [column for column in rows[0] if any(row[column] not in (None, "") for row in rows)]
    table = Table(title=escape(title) or None)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")  # what is too long goes on below, uncut
    for row in rows:
        table.add_row(*(escape(_cell(column, row[column])) for column in columns))
    out().print(table)


def listing_with_notes(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    as_json: bool = False,
    as_csv: bool = False,
    brief: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> None:
    """Print rows as JSON, as CSV, or as a table that names long settings by numbers, which are explained below it.

    :param brief: turns a row into the row that the table shows. If all rows share a network, the title names it.
    """
    if as_json or as_csv:
        listing(rows, title, as_json, as_csv)
        return
    rows = [brief(row) for row in rows]
    known = dict.fromkeys(row["settings"] for row in rows if row["settings"])
    numbers = {settings: str(number) for number, settings in enumerate(known, 1)}
    shown = [{**row, "settings": numbers.get(row["settings"], "")} for row in rows]
    if len(networks := {row.get("network") for row in rows}) == 1 and (network := networks.pop()):
        shown = [{key: value for key, value in row.items() if key != "network"} for row in shown]
        title = f"{network}. {title}"
    listing(shown, title)
    for settings, number in numbers.items():
        typer.echo(f"settings {number}: {settings}")


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if column == "sparsity" else f"{value:.3g}" if column == "p" else f"{value:.2f}"
    return str(value)


def digits_of(means: Iterable[float]) -> int:
    """The digits after the point of means in a table: 2, as for percent; 4 if none is above 1, as for shares."""
    return 4 if all(abs(mean) <= 1 for mean in means) else 2


def plus_minus(value: float, half_width: float | None, digits: int = 2) -> str:
    """The value with its half-width, if there is one: ``1.23 ± 0.45``."""
    zero = f"{0:.{digits}f}"
    shown = f"{value:.{digits}f}".replace(f"-{zero}", zero)
    return shown if half_width is None else f"{shown} ± {half_width:.{digits}f}"


def plain(value: Any) -> str:
    """A setting as people write it; four digits of a float are enough to tell trials apart."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def client_and_name(experiment: str, tracking_uri: str | None) -> "tuple[MlflowClient, str]":
    """See :func:`autosparse.results.named.client_and_name`."""
    from autosparse.results import named

    return named.client_and_name(experiment, tracking_uri)


def two_named(
    a: str, b: str, experiment: str | None, tracking_uri: str | None
) -> "tuple[MlflowClient, str, str, str | None]":
    """The client, the names of A and B in MLflow, and the experiment that holds both.

    The last is None if A and B are experiments.
    """
    client, first = client_and_name(experiment or a, tracking_uri)
    if experiment is not None:
        return client, a, b, first
    return client, first, client_and_name(b, tracking_uri)[1], None


def find_scorer(name: str, tracking_uri: str | None) -> "Scorer":
    """A scorer by its folder, or by its address in the registry."""
    if not name.startswith("models:/"):
        from autosparse.autos import load_scorer

        return load_scorer(name)
    from autosparse.results.model_registry import load_registered
    from autosparse.tracking.client import connect

    return load_registered(connect(tracking_uri, must_exist=True), name)
