"""What the commands share: options, settings, JSON, exit codes."""

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Storage = Annotated[
    Path, typer.Option(help="Folder of finished work; shared by all nodes on a cluster.", envvar="AUTOSPARSE_STORAGE")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="MLflow server or store [default: sqlite:///mlflow.db here]",
        envvar="MLFLOW_TRACKING_URI",
        show_default=False,
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder of the data sets [default: ./data]", envvar="AUTOSPARSE_DATA", show_default=False),
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch a data set that is missing, where it can be fetched.")
]
Address = Annotated[
    str | None,
    typer.Option(help="Of a running Ray cluster [default: a local Ray]", envvar="RAY_ADDRESS", show_default=False),
]
Workers = Annotated[int | None, typer.Option(help="Jobs at a time [default: one per CPU]", min=1, show_default=False)]
GpusPerJob = Annotated[
    float, typer.Option(help="GPUs that each job takes, or a share of one: at 0.25 four jobs share it.", min=0)
]
Precision = Annotated[
    str,
    typer.Option(help="Of training: float32, bfloat16, or auto: bfloat16 on GPUs that have it, else float32."),
]
CudaGraphs = Annotated[
    bool, typer.Option("--cuda-graphs", help="On a GPU, replay training steps as CUDA graphs; experimental.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and only that, on stdout.")]

STORAGE = Path("results")


def out() -> Console:
    """stdout, for results."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def emit(value: Any) -> None:
    """Print ``value`` as JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def command(name: str) -> str:
    """``name`` as the user can type it: with its folder where that is not on the PATH."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    if (found and Path(found).resolve() == beside.resolve()) or not beside.exists():
        return name
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)
