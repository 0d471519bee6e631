"""``autosparse run FILE``: do what is missing of an experiment."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from autosparse.cli import common

LOOKED_AT = 500
"""Cells, of a large grid, whose records tell what compact training saved."""
MANY = 10_000
"""Records with files of their own from which on gathering them pays."""
ONLY = ("irp", "sweeps", "scorers", "grid", "report")
"""Stages of an experiment."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


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
    str | None,
    typer.Option(help="Scale of a file that has several, such as paper or smoke [default: small]", show_default=False),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE, such as grid.*.recipe.epochs=10; again for more.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan; start, write and import nothing.")]
Tflops = Annotated[float, typer.Option(help="With --dry-run: TFLOP/s that a GPU sustains.", min=0.001)]


def run(
    file: File,
    preset: Preset = None,
    changes: Changes = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Do one stage; what it builds on must be finished.", show_default=False, **common.among(*ONLY)
        ),
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
    retries: Annotated[int, typer.Option(help="How often to retry a task whose failure may be temporary.", min=0)] = 1,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also retry tasks that an earlier run marked as failed.")
    ] = False,
    redo_changed: common.RedoChanged = False,
    precision: common.Precision = "auto",
    cuda_graphs: common.CudaGraphs = False,
    compact: common.Compact = "auto",
    as_json: common.Json = False,
) -> None:
    """Run the missing cells of an experiment; finished ones are skipped, so the same command resumes."""
    from autosparse.plugins import withholding
    from autosparse.runner.settings import Settings
    from autosparse.training import Execution

    with withholding(dry_run):
        plan = planned(file, preset, changes or [], quiet=as_json)
        if dry_run:
            show_plan(plan, storage, as_json, estimate(plan, data_root, tflops), tflops)
            return
    execution = Execution(precision, cuda_graphs, compact)
    where = (storage, tracking_uri, data_root, download, address, workers, gpus_per_job)
    settings = Settings(*where, retries, retry_failed, execution, redo_changed)
    if only == "report":
        from autosparse.report.page import write_report
        from autosparse.tracking.client import connect

        typer.echo(str(write_report(connect(tracking_uri, must_exist=True), plan.name, Path("report") / plan.name)))
    else:
        raise typer.Exit(execute(plan, settings, as_json, [only] if only else None))


def planned(file: str, preset: str | None, changes: list[str], quiet: bool = False) -> Any:
    """The plan of an experiment file; unless ``quiet``, print a line that says which preset it is."""
    from autosparse.experiment.load import load_experiment
    from autosparse.experiment.plan import make_plan

    loaded = load_experiment(file, preset, changes)
    if loaded.preset and not quiet:
        others = ", ".join(name for name in loaded.presets if name != loaded.preset)
        typer.echo(f"preset {loaded.preset} (there are also: {others})", err=True)
    return make_plan(loaded.experiment, loaded.paper, loaded.folder, **_about(loaded, changes))


def _about(loaded: Any, changes: list[str]) -> dict[str, Any]:
    """What the experiment's parent run says about the file and the command."""
    parts = ["autosparse", "run", loaded.file, *(["--preset", loaded.preset] if loaded.preset else [])]
    parts += [part for change in changes for part in ("--set", change)]
    experiment = loaded.experiment
    return {
        "preset": loaded.preset,
        "file": loaded.file,
        "command": shlex.join(parts),
        "description": experiment.description,
        "notes": list(experiment.notes),
        "changes": list(loaded.changes),
    }


def estimate(plan: Any, data_root: Path | None, tflops: float) -> dict[str, float | None]:
    """GPU-hours of each stage at a sustained rate, from FLOPs; None if a data set's size or code is not known."""
    from autosparse.data import load_dataset, unpinned
    from autosparse.errors import DataError
    from autosparse.plugins import withheld
    from autosparse.runner.jobs.cost import EXTENTS, Costs, extent_of

    extents = {}
    for name in plan.datasets:
        try:
            extents[name] = EXTENTS.get(unpinned(name)[0]) or extent_of(load_dataset(name, data_root))
        except DataError:
            continue
    costs, withholds = Costs(extents), withheld()
    hours: dict[str, float | None] = {}
    for stage, planned in (("irp", plan.irp), ("cells", plan.cells)):
        known = not (withholds and withholds.code) and all(p.task.dataset in extents for p in planned)
        hours[stage] = sum(costs(p.task) for p in planned) / (tflops * 1e12) / 3600 if known else None
    return hours


def execute(plan: Any, settings: Any, as_json: bool = False, only: list[str] | None = None, quiet: bool = False) -> int:
    """Run a plan and print its outcome (if ``quiet``, only warnings); return the exit code."""
    from autosparse.experiment.stages import NAMED
    from autosparse.experiment.store import Store
    from autosparse.report.terminal import leaderboard
    from autosparse.runner.driver.run import run_plan
    from autosparse.runner.screen.console import Screen
    from autosparse.tracking.client import connect

    screen, store = Screen(), Store(settings.storage)
    outcome = run_plan(plan, settings, screen, only or tuple(NAMED), store)
    counts = {"done": outcome.done, "found finished": outcome.found, "failed": len(outcome.failed)}
    counts |= {"still to do": len(outcome.to_do)} if outcome.to_do else {}
    screen.say(f"{plan.name}: {', '.join(f'{count} {word}' for word, count in counts.items())}")
    for word, left in (("failed", outcome.failed), ("still to do", outcome.to_do)):
        for reason, count in Counter(reason for _, reason in left).items():
            example = next(p for p, r in left if r == reason)
            screen.warn(f"{count} {word}, such as {example.label} ({example.task.kind} {example.task.id}): {reason}")
    for planned in plan.scorers:
        for warning in _warnings(store.record(planned.task)):
            screen.warn(f"scorer {planned.label}: {warning}")
    for model, rest in _left_out(plan, store).items():
        screen.say(f"{model}: never pruned, and not counted in its sparsity: {rest}")
    if saved := _saved(plan, store):
        screen.say(saved)
    if outcome.failed and not settings.retry_failed:
        screen.say("what failed is left alone by the next run, unless it has --retry-failed")
    if len(store.board.listed.get("cells", ())) > MANY:
        screen.say("so many records are found faster after `autosparse storage gather`")
    if plan.irp:
        screen.say(f"survival datasets are in {store.place}/irp, scorers in {store.place}/scorers")
    code = 0 if outcome.whole else 1
    if quiet:
        return code
    if as_json:
        summary = {"experiment": plan.name, "found": outcome.found, "done": outcome.done}
        waiting = {"to_do": _listed(outcome.to_do)} if outcome.to_do else {}
        common.emit({**summary, "failed": _listed(outcome.failed), **waiting})
    elif sum(p.task.kind == "cell" for p, _ in (*outcome.failed, *outcome.to_do)) < len(plan.cells):
        for table in leaderboard(connect(settings.tracking_uri), plan.name):
            common.out().print(table)
    return code


def _listed(left: list[tuple[Any, str]]) -> list[dict[str, str]]:
    return [{"id": p.task.id, "kind": p.task.kind, "label": p.label, "reason": reason} for p, reason in left]


def _left_out(plan: Any, store: Any) -> dict[str, Any]:
    """The weights that no mask covers, for each model that has any, from its first finished IRP run or cell."""
    from autosparse.weights import LeftOut

    found: dict[str, LeftOut] = {}
    tasks = [planned.task for planned in (*plan.irp, *plan.cells)]
    there = store.there(tasks)
    for task in tasks:
        if task.model not in found and task.id in there and (record := store.record(task)):
            found[task.model] = LeftOut.of(record["result"])
    return {model: rest for model, rest in found.items() if rest}


def _saved(plan: Any, store: Any) -> str | None:
    """What compact training saved of the cells' trainings, in FLOPs; None if it saved nothing.

    Of a large grid a sample tells, so that not all records are read once more.
    """
    there = store.there(planned.task for planned in plan.cells)
    done = [planned.task for planned in plan.cells if planned.task.id in there]
    records = [store.record(task) for task in done[:: max(1, len(done) // LOOKED_AT)]]
    results = [r["result"] for r in records if r and "flops_trained" in r["result"]]
    dense = sum(r["flops_dense"] * r["images"] for r in results)
    trained = sum(r["flops_trained"] * r["images"] for r in results)
    if trained >= dense:
        return None
    return f"compact training computed {100 * trained / dense:.2g} % of the FLOPs that dense training takes"


def _warnings(record: Any) -> list[str]:
    """The warnings of a scorer's fit; none if it has not finished."""
    return list(record["result"]["report"]["warnings"]) if record else []


def show_plan(plan: Any, storage: str, as_json: bool, hours: dict[str, float | None], tflops: float) -> None:
    """Print how many tasks each stage has, how many are done and left, and what all of them cost."""
    from rich.table import Table

    from autosparse.experiment.store import Store
    from autosparse.experiment.superseded import changed_records
    from autosparse.plugins import Withheld, withheld
    from autosparse.runner.driver.changed import told

    store, code = Store(storage), withheld() or Withheld()
    stages = {stage.plural: planned for stage, planned in plan.stages.items()}
    finished = store.finished(p.task for p in plan)
    counts = {}
    for stage, planned in stages.items():
        done = sum(p.task.id in finished for p in planned)
        counts[stage] = {"total": len(planned), "done": done, "to_do": len(planned) - done}
    if changed := changed_records((p.task for p in plan if p.task.id not in finished), store):
        typer.echo(told(changed.values()), err=True)
    if as_json:
        listed = {
            stage: [
                {"id": p.task.id, "label": p.label, "done": p.task.id in finished, "spec": p.task.spec} for p in planned
            ]
            for stage, planned in stages.items()
        }
        trust = {"not_imported": code.code, "taken_on_trust": sorted(code.trusted)}
        common.emit({"experiment": plan.name, **counts, "gpu_hours": hours, "tflops": tflops, "tasks": listed, **trust})
        return
    table = Table("stage", "total", "done", "to do", "GPU-hours", title=f"Plan of {plan.name}")
    for stage, count in counts.items():
        if stage == "sweeps" and not count["total"]:
            continue
        shown = [str(count[column]) for column in ("total", "done", "to_do")]
        table.add_row(stage, *shown, _hours(hours[stage]) if stage in hours and count["total"] else "–")
    common.out().print(table)
    assumed = f"at {tflops:g} TFLOP/s sustained (--tflops); scorer fits are not counted"
    common.out().print(f"GPU-hours of all tasks, from their FLOPs, {assumed}")
    if code.code:
        names = f"; taken on trust: {', '.join(sorted(code.trusted))}" if code.trusted else ""
        typer.echo(f"not imported: {', '.join(code.code)}; a run imports it, and so runs it{names}", err=True)


def _hours(hours: float | None) -> str:
    if hours is None:
        return "unknown: data or code not at hand"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
