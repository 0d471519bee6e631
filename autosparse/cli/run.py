"""``autosparse run FILE``: do what is missing of an experiment."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from autosparse.cli import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    file: Annotated[
        Path, typer.Argument(help="Experiment file (YAML); `autosparse list experiments` shows those at hand.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; start and write nothing.")] = False,
    storage: common.Storage = common.STORAGE,
    tracking_uri: common.TrackingUri = None,
    data_root: common.DataRoot = None,
    download: common.Download = False,
    address: common.Address = None,
    workers: common.Workers = None,
    gpus_per_job: common.GpusPerJob = 0.0,
    precision: common.Precision = "auto",
    cuda_graphs: common.CudaGraphs = False,
    as_json: common.Json = False,
) -> None:
    """Run the missing cells of an experiment; finished ones are skipped, so the same command resumes."""
    from autosparse.experiment.load import load_experiment
    from autosparse.experiment.plan import make_plan
    from autosparse.runner.settings import Settings
    from autosparse.training import Execution

    plan = make_plan(load_experiment(file))
    execution = Execution(precision, cuda_graphs)
    settings = Settings(storage, tracking_uri, data_root, download, address, workers, gpus_per_job, execution)
    if dry_run:
        show_plan(plan, storage, as_json)
    else:
        raise typer.Exit(execute(plan, settings, as_json))


def execute(plan: Any, settings: Any, as_json: bool = False) -> int:
    """Run a plan and print what came of it; returns the exit code."""
    from autosparse.experiment.store import Store
    from autosparse.report.terminal import leaderboard
    from autosparse.runner.progress import Talk
    from autosparse.runner.run import run_plan
    from autosparse.tracking.client import connect

    talk, store = Talk(), Store(settings.storage)
    outcome = run_plan(plan, settings, talk)
    talk.say(f"{plan.name}: {outcome.done} done, {outcome.found} found finished, {len(outcome.failed)} failed")
    for reason, count in Counter(reason for _, reason in outcome.failed).items():
        example = next(p for p, r in outcome.failed if r == reason)
        talk.warn(f"{count} failed, such as {example.label} ({example.task.kind} {example.task.id}): {reason}")
    for planned in plan.scorers:
        for warning in _warnings(store.record(planned.task)):
            talk.warn(f"scorer {planned.label}: {warning}")
    if plan.irp:
        talk.say(f"survival datasets are in {settings.storage / 'irp'}, scorers in {settings.storage / 'scorers'}")
    if as_json:
        failed = [
            {"id": p.task.id, "kind": p.task.kind, "label": p.label, "reason": reason} for p, reason in outcome.failed
        ]
        common.emit({"experiment": plan.name, "found": outcome.found, "done": outcome.done, "failed": failed})
    elif sum(p.task.kind == "cell" for p, _ in outcome.failed) < len(plan.cells):
        for table in leaderboard(connect(settings.tracking_uri), plan.name):
            common.out().print(table)
    return 1 if outcome.failed else 0


def _warnings(record: Any) -> list[str]:
    """What a scorer's fit warned of; nothing where it has not finished."""
    return list(record["result"]["report"]["warnings"]) if record else []


def show_plan(plan: Any, storage: Path, as_json: bool) -> None:
    """Print how many tasks of each kind there are, are done, and are left."""
    from rich.table import Table

    from autosparse.experiment.store import Store

    store = Store(storage)
    stages = {"irp": plan.irp, "scorers": plan.scorers, "cells": plan.cells}
    listed = {
        stage: [
            {"id": p.task.id, "label": p.label, "done": store.record(p.task) is not None, "spec": p.task.spec}
            for p in planned
        ]
        for stage, planned in stages.items()
    }
    counts = {
        stage: {"total": len(tasks), "done": sum(t["done"] for t in tasks), "to_do": sum(not t["done"] for t in tasks)}
        for stage, tasks in listed.items()
    }
    if as_json:
        common.emit({"experiment": plan.name, **counts, "tasks": listed})
        return
    table = Table("stage", "total", "done", "to do", title=f"Plan of {plan.name}")
    for stage, count in counts.items():
        table.add_row(stage, *(str(count[column]) for column in ("total", "done", "to_do")))
    common.out().print(table)
