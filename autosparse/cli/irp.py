"""``autosparse irp``: iterative rewind pruning, one survival dataset per seed."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common


def irp(
    out: Annotated[Path, typer.Option(help="Folder of the survival datasets: seed-0, seed-1, ...")],
    model: Annotated[str, typer.Option(help="See `autosparse list models`.")] = "lenet-300-100",
    dataset: Annotated[str, typer.Option(help="See `autosparse list datasets`.")] = "digits",
    criterion: Annotated[str, typer.Option(help="See `autosparse list criteria`.")] = "snip",
    iterations: Annotated[int, typer.Option(help="Train-prune-rewind rounds.")] = 20,
    final_density: Annotated[float, typer.Option(help="Share of weights kept at the end.")] = 0.01,
    schedule: Annotated[str, typer.Option(help="geometric or linear.")] = "geometric",
    gradient_mode: Annotated[
        str, typer.Option(help="The network's mode when the initial gradient is taken: eval or train.")
    ] = "eval",
    epochs: Annotated[int, typer.Option(help="Epochs of each training.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 128,
    lr: Annotated[float, typer.Option(help="Learning rate of each training.")] = 1.2e-3,
    optimizer: Annotated[str, typer.Option(help="sgd, momentum, adam or adamw.")] = "adam",
    seeds: Annotated[str, typer.Option(help="Comma-separated; one run each, side by side.")] = "0",
    experiment: Annotated[str, typer.Option(help="MLflow experiment that the runs go to.")] = "irp",
    storage: common.Storage = common.STORAGE,
    tracking_uri: common.TrackingUri = None,
    data_root: common.DataRoot = None,
    download: common.Download = False,
    address: common.Address = None,
    workers: common.Workers = None,
    gpus_per_job: common.GpusPerJob = 0.0,
    label_selector: common.LabelSelector = None,
    redo_changed: common.RedoChanged = False,
    rehearsal: common.Rehearsal = True,
    precision: common.Precision = "auto",
    cuda_graphs: common.CudaGraphs = False,
    compact: common.Compact = "auto",
    as_json: common.Json = False,
) -> None:
    """Train, prune, rewind, again: count how long each weight survives, and write survival datasets."""
    from autosparse.experiment.load import parse_experiment
    from autosparse.experiment.plan import make_plan
    from autosparse.experiment.store import Store
    from autosparse.files import require_replaceable, require_writable
    from autosparse.irp.parquet import SHARDS
    from autosparse.runner.driver.run import run_plan
    from autosparse.runner.nodes import labels_from
    from autosparse.runner.screen.console import Screen
    from autosparse.runner.settings import Settings
    from autosparse.training import Execution

    recipe = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "optimizer": optimizer}
    spec = {
        "model": model, "dataset": dataset, "criterion": criterion, "iterations": iterations, "schedule": schedule,
        "gradient_mode": gradient_mode, "final_density": final_density, "seeds": parse_seeds(seeds), "recipe": recipe,
    }  # fmt: skip
    plan = make_plan(parse_experiment({"name": experiment, "irp": {criterion: spec}}, "autosparse irp"))
    for planned in plan.irp:
        require_replaceable(out / f"seed-{planned.task.seed}", SHARDS)
    require_writable(out)
    settings = Settings(
        storage, tracking_uri, data_root, download, address, workers, gpus_per_job, labels_from(label_selector or ()),
        retry_failed=True, execution=Execution(precision, cuda_graphs, compact), redo_changed=redo_changed,
        rehearsal=rehearsal,
    )  # fmt: skip
    screen, store = Screen(), Store(storage)
    outcome = run_plan(plan, settings, screen)
    rows = []
    for planned in plan.irp:
        record = store.record(planned.task)
        if record is not None:
            folder = out / f"seed-{planned.task.seed}"
            export(store.fetched("irp", planned.task.id) / "survival", folder, SHARDS)
            shown = {name: record["result"][name] for name in ("accuracy", "kept", "total", "seconds")}
            rows.append({"seed": planned.task.seed, "id": planned.task.id, "folder": str(folder), **shown})
    for failed, reason in outcome.failed:
        screen.warn(f"{failed.label} ({failed.task.id}) failed: {reason}")
    for left, reason in outcome.to_do:
        screen.warn(f"{left.label} ({left.task.id}) is not done: {reason}")
    if as_json:
        common.emit(rows)
    else:
        for row in rows:
            typer.echo(
                f"{row['folder']}: {row['kept']} of {row['total']} weights left, accuracy {row['accuracy'][-1]:.2f} %"
            )
    raise typer.Exit(0 if outcome.whole else 1)


def parse_seeds(text: str) -> list[int]:
    """``0,1,2`` -> [0, 1, 2]; refuses anything else."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--seeds takes whole numbers separated by commas, not {text!r}") from error


def export(source: Path, folder: Path, ours: tuple[str, ...]) -> None:
    """Copy a finished result to where the user wants it, whole or not at all."""
    from autosparse.files import atomic_folder

    with atomic_folder(folder, ours) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
