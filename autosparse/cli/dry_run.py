"""``--dry-run``: what a run would do, how much of it is done, and what it would cost.

Nothing that a file names is imported.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import typer

from autosparse.cli import common
from autosparse.experiment.stages import CELLS, IRP, SWEEPS

COUNTED = ("total", "done", "to_do")


def show_plan(
    plan: Any,
    storage: str,
    data_root: Path | None,
    as_json: bool,
    tflops: float,
    download: bool,
    gpus_per_job: float,
    retry_failed: bool,
) -> int:
    """Print how many tasks each stage has, how many are done and left, what all of them cost, and what a job asks for.

    Tasks that have failed are left only if the run would try them again.

    Return the exit code: 1 if what is left needs data that are absent and are not to be fetched, else 0.
    """
    from autosparse.data import missing_data, source_of
    from autosparse.experiment.plan import dataset_of
    from autosparse.experiment.store import Store
    from autosparse.experiment.superseded import changed_records
    from autosparse.plugins import Withheld, withheld
    from autosparse.runner.driver.changed import told
    from autosparse.runner.jobs.loaders import most_loaders

    hours, store, code = estimate(plan, data_root, tflops), Store(storage), withheld() or Withheld()
    finished = store.finished(p.task for p in plan)
    left = [p.task for p in plan if p.task.id not in finished]
    failed = set() if retry_failed else store.failed(left)
    left = [task for task in left if task.id not in failed]
    counts = {stage.plural: _counted(planned, finished, failed) for stage, planned in plan.stages.items()}
    names = sorted({name for task in left if (name := dataset_of(task)) is not None})
    streamed = [name for name in names if source_of(name).streamed]
    cpus = 1 + (most_loaders(gpus_per_job) if streamed else 0)
    missing = {name: reason for name in names if not download and (reason := missing_data(name, data_root))}
    if changed := changed_records(left, store):
        typer.echo(told(changed.values()), err=True)
    if as_json:
        listed = {stage.plural: _listed(planned, finished) for stage, planned in plan.stages.items()}
        about = {"gpu_hours": hours, "tflops": tflops, "cpus_per_job": cpus, "tasks": listed, "absent_data": missing}
        trust = {"not_imported": code.code, "taken_on_trust": sorted(code.trusted)}
        common.emit({"experiment": plan.name, **counts, **about, **trust})
        return 1 if missing else 0
    _print_plan(plan.name, counts, hours, tflops)
    if failed:
        typer.echo(f"{len(failed)} failed and would be skipped; --retry-failed tries them again", err=True)
    if cpus > 1:
        typer.echo(
            f"{', '.join(streamed)}: images stream from files, so a job asks Ray for up to {cpus} CPUs, as far as "
            "its node has them free: one for itself and one per decoding process (AUTOSPARSE_LOADER_WORKERS)",
            err=True,
        )
    if code.code:
        trusted = f"; taken on trust: {', '.join(sorted(code.trusted))}" if code.trusted else ""
        typer.echo(f"not imported: {', '.join(code.code)}; a run would import and execute this code{trusted}", err=True)
    for reason in missing.values():
        typer.echo(f"absent data: {reason}", err=True)
    return 1 if missing else 0


def _counted(planned: Sequence[Any], finished: Collection[str], failed: Collection[str]) -> dict[str, int]:
    done, lost = (sum(p.task.id in ids for p in planned) for ids in (finished, failed))
    counts = {"total": len(planned), "done": done, "to_do": len(planned) - done - lost}
    return counts | ({"failed": lost} if lost else {})


def _listed(planned: Sequence[Any], finished: Collection[str]) -> list[dict[str, Any]]:
    return [{"id": p.task.id, "label": p.label, "done": p.task.id in finished, "spec": p.task.spec} for p in planned]


def _print_plan(name: str, counts: dict[str, dict[str, int]], hours: dict[str, float | None], tflops: float) -> None:
    from rich.table import Table

    columns = ("total", "done", "failed", "to_do") if any("failed" in count for count in counts.values()) else COUNTED
    table = Table("stage", *(column.replace("_", " ") for column in columns), "GPU-hours", title=f"Plan of {name}")
    for stage, count in counts.items():
        if stage == SWEEPS.plural and not count["total"]:
            continue
        shown = [str(count.get(column, 0)) for column in columns]
        table.add_row(stage, *shown, _hours(hours[stage]) if stage in hours and count["total"] else "–")
    common.out().print(table)
    assumed = f"at {tflops:g} TFLOP/s sustained (--tflops); scorer fits are not counted"
    common.out().print(f"GPU-hours of all tasks, from their FLOPs, {assumed}")


def _hours(hours: float | None) -> str:
    if hours is None:
        return "unknown: data or code not at hand"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


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
    for stage, planned in ((IRP, plan.irp), (CELLS, plan.cells)):
        known = not (withholds and withholds.code) and all(p.task.dataset in extents for p in planned)
        hours[stage.plural] = sum(costs(p.task) for p in planned) / (tflops * 1e12) / 3600 if known else None
    return hours
