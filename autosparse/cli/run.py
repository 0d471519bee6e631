"""``autosparse run FILE``: do what is missing of an experiment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autosparse.cli import common
from autosparse.cli.dry_run import show_plan
from autosparse.errors import AutosparseError
from autosparse.experiment.stages import NAMED

ONLY = (*NAMED, "report")
"""What an experiment can be asked for alone: its stages, and its report."""


def complete_file(incomplete: str) -> list[str]:
    """The experiments that a shell offers: files here, and names."""
    from autosparse.experiment.files import local_files, shipped_files

    here = [str(path) for path in (*sorted(Path().glob("*.yaml")), *local_files().values())]
    return [name for name in (*here, *shipped_files()) if name.startswith(incomplete)]


File = Annotated[
    str,
    typer.Argument(
        help="Experiment file (YAML), or the name of one that `autosparse list experiments` shows. It may name code "
        "(`plugins:`, `module:factory`), which is imported and so runs: trust it as you would a script.",
        autocompletion=complete_file,
    ),
]
Preset = Annotated[
    str | None, typer.Option(help="Scale of a file that has several, such as paper or smoke [default: small]")
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, such as grid.*.recipe.epochs=10; again for more.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan; start, write and import nothing.")]
Tflops = Annotated[float, typer.Option(help="With --dry-run: TFLOP/s that a GPU sustains.", min=0.001)]


def run(
    file: File,
    preset: Preset = None,
    changes: Changes = None,
    only: Annotated[
        str | None, typer.Option(help="Do one stage; what it builds on must be finished.", **common.among(*ONLY))
    ] = None,
    dry_run: DryRun = False,
    tflops: Tflops = 10.0,
    storage: common.Storage = common.STORAGE,
    tracking_uri: common.TrackingUri = None,
    data_root: common.DataRoot = None,
    download: common.Download = False,
    address: common.Address = None,
    workers: common.Workers = None,
    gpus_per_job: common.GpusPerJob = 0.0,
    label_selector: common.LabelSelector = None,
    retries: Annotated[int, typer.Option(help="How often to retry a task whose failure may be temporary.", min=0)] = 1,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also retry tasks that an earlier run marked as failed.")
    ] = False,
    redo_changed: common.RedoChanged = False,
    rehearsal: common.Rehearsal = True,
    precision: common.Precision = "auto",
    cuda_graphs: common.CudaGraphs = False,
    compact: common.Compact = "auto",
    as_json: common.Json = False,
) -> None:
    """Run the missing cells of an experiment; finished ones are skipped, so the same command resumes."""
    from autosparse.plugins import withholding

    if dry_run:
        with withholding():
            plan = planned(file, preset, changes or [], quiet=as_json)
            if only == "report":
                raise AutosparseError("--dry-run shows what would be computed, and --only report computes nothing")
            plan = plan.only_stages([only]) if only else plan
            raise typer.Exit(show_plan(plan, storage, data_root, as_json, tflops, download, gpus_per_job, retry_failed))
    if only == "report":
        from autosparse.report.page import write_report
        from autosparse.tracking.client import connect

        name = planned(file, preset, changes or [], quiet=as_json).name
        page = str(write_report(connect(tracking_uri, must_exist=True), name, Path("report") / name))
        common.tell({"experiment": name, "page": page}, page, as_json)
    else:
        from autosparse.runner.experiment import run as run_experiment
        from autosparse.runner.nodes import labels_from

        summary = run_experiment(
            file, preset, changes or (), only=only,
            storage=storage, tracking_uri=tracking_uri, data_root=data_root, download=download,
            address=address, workers=workers, gpus_per_job=gpus_per_job,
            label_selector=labels_from(label_selector or ()),
            retries=retries, retry_failed=retry_failed, redo_changed=redo_changed,
            precision=precision, cuda_graphs=cuda_graphs, compact=compact, rehearsal=rehearsal,
        )  # fmt: skip
        raise typer.Exit(show_outcome(summary, as_json))


def planned(file: str, preset: str | None, changes: list[str], quiet: bool = False) -> Any:
    """The plan of an experiment file; unless ``quiet``, print a line that says which preset it is."""
    from autosparse.experiment.load import load_experiment, plan_of, scale_of

    loaded = load_experiment(file, preset, changes)
    if (scale := scale_of(loaded)) and not quiet:
        typer.echo(scale, err=True)
    return plan_of(loaded)


def show_outcome(summary: Any, as_json: bool = False) -> int:
    """Print the results of a run, as JSON or as a leaderboard; return the exit code."""
    from autosparse.report.terminal import leaderboard
    from autosparse.tracking.client import connect

    if as_json:
        counts = {"experiment": summary.name, "found": summary.found, "done": summary.done}
        waiting = {"to_do": summary.to_do} if summary.to_do else {}
        common.emit({**counts, "failed": summary.failed, **waiting})
    elif sum(left["kind"] == "cell" for left in (*summary.failed, *summary.to_do)) < summary.cells:
        for table in leaderboard(connect(summary.tracking_uri), summary.name):
            common.out().print(table)
    return 0 if summary.whole else 1
