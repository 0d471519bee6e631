"""``autosparse demo``: the whole job on the embedded digits."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common
from autosparse.cli.run import show_outcome


def demo(
    storage: common.Storage = common.STORAGE,
    tracking_uri: common.TrackingUri = None,
    workers: common.Workers = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("report"),
) -> None:
    """IRP, a learned scorer, a pruning grid, MLflow and a report, on data that is already here."""
    from autosparse.experiment.files import DEMO
    from autosparse.experiment.load import load_experiment
    from autosparse.experiment.plan import make_plan
    from autosparse.files import require_writable
    from autosparse.report.folder import require_free
    from autosparse.report.page import write_report
    from autosparse.runner.experiment import carry_out
    from autosparse.runner.settings import Settings
    from autosparse.tracking.client import connect
    from autosparse.tracking.client import tracking_uri as resolve

    plan = make_plan(load_experiment(DEMO).experiment)
    require_writable(out)
    require_free(out)
    code = show_outcome(carry_out(plan, Settings(storage, tracking_uri, workers=workers, retry_failed=True)))
    page = write_report(connect(tracking_uri), plan.name, out)
    print_next(page, resolve(tracking_uri), plan.name)
    raise typer.Exit(code)


def print_next(page: Path, uri: str, name: str) -> None:
    """Say where the report is and what to try next."""
    from autosparse.errors import safe_uri

    autosparse = common.command("autosparse")
    typer.echo(f"\nReport: {page}\n\nTry next:")
    if "://" in uri and not uri.startswith("http"):
        typer.echo(f"  {common.command('mlflow')} ui --backend-store-uri {shlex.quote(safe_uri(uri))}")
    else:
        typer.echo(f"  open {safe_uri(uri)} in a browser")
    typer.echo(f"  {autosparse} best --experiment {name} --sparsity 0.95")
    typer.echo(f"  {autosparse} run lenet-mnist   # needs MNIST: --data-root FOLDER, or --download")
