"""``autosparse fit``: a scorer from survival datasets."""

from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common
from autosparse.cli.irp import export


def fit(
    folders: Annotated[
        list[Path], typer.Argument(help="Survival datasets, or folders of them (`autosparse irp --out`).")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the scorer.")],
    backbone: Annotated[
        str,
        typer.Option(
            help="mlp; conditional-mean, linear or trees, which take seconds; or, for a GPU, resnet18 or vgg19."
        ),
    ] = "mlp",
    inputs: Annotated[
        str,
        typer.Option(
            help="What the scorer reads, comma-separated. It prunes in one shot with param, grad or both, and in "
            "rounds with context, prospect (after steps of training), or names from `autosparse list features`."
        ),
    ] = "param,grad",
    epochs: Annotated[int, typer.Option(help="Passes over the rows, for backbones that are networks.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Rows per step, for backbones that are networks.")] = 1024,
    lr: Annotated[float, typer.Option(help="Adam's learning rate at the start; it falls to 0 along a cosine.")] = 0.01,
    rows: Annotated[
        int | None, typer.Option(help="Fit on a stratified sample of this many rows [default: all]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the initialisation, the order and the held-out rows.")] = 0,
    rounds: Annotated[
        int | None, typer.Option(help="Number of rounds that it prunes in [default: 10; one shot for param,grad]")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Training steps in each round, undone after it [default: 10 for features after training, else none]"
        ),
    ] = None,
    step_lr: Annotated[float, typer.Option(help="Learning rate of these steps.")] = 0.1,
    step_batch_size: Annotated[int, typer.Option(help="Images in each of these steps.")] = 128,
    examples: Annotated[
        int | None, typer.Option(help="Images for gradients and activations in a round [default: all]")
    ] = None,
    rows_in: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the rows of every weight in every state, as Parquet: written if missing, then streamed "
            "by Ray Data, so that they need not fit in memory. Needs rounds [default: rows in memory; a sample if "
            "there are more than 20 million]"
        ),
    ] = None,
    dagger: Annotated[
        int, typer.Option(help="How often to add rows from networks that the scorer pruned itself; needs rounds.")
    ] = 0,
    refine: Annotated[
        int, typer.Option(help="Generations of a search for coefficients that prune better; needs linear.")
    ] = 0,
    device: common.Device = "auto",
    experiment: Annotated[str, typer.Option(help="MLflow experiment that the fit goes to.")] = "scorers",
    storage: common.Storage = common.STORAGE,
    tracking_uri: common.TrackingUri = None,
    data_root: common.DataRoot = None,
    download: common.Download = False,
    address: common.Address = None,
    label_selector: common.LabelSelector = None,
    workers: common.Workers = None,
    as_json: common.Json = False,
) -> None:
    """Fit AutoS: learn which weights survive, from their values and gradients at initialisation or other features."""
    from autosparse.experiment.load import parse_fit
    from autosparse.experiment.schema import check_name
    from autosparse.files import require_replaceable, require_writable
    from autosparse.irp import find_datasets
    from autosparse.runner.driver.fit_folders import fit_on_folders
    from autosparse.runner.nodes import labels_from
    from autosparse.runner.screen.console import Screen
    from autosparse.runner.settings import Settings

    names = [name.strip() for name in inputs.split(",")]
    spec = parse_fit(
        {
            "backbone": backbone, "inputs": names, "epochs": epochs, "batch_size": batch_size, "lr": lr, "rows": rows,
            "seed": seed, "rounds": rounds, "steps": steps, "examples": examples,
            "step_lr": step_lr, "step_batch_size": step_batch_size,
            "dagger": {"passes": dagger} if dagger else None,
            "refine": {"generations": refine} if refine else None,
        },
        "autosparse fit",
    )  # fmt: skip
    check_name(experiment, "--experiment")
    paths = [path for folder in folders for path in find_datasets(folder)]
    require_replaceable(out, ("scorer.json", "scorer.safetensors"))
    require_writable(out.absolute().parent)
    screen = Screen()
    labels = labels_from(label_selector or ())
    settings = Settings(storage, tracking_uri, data_root, download, address, workers, label_selector=labels)
    scorer, record = fit_on_folders(paths, spec, experiment, settings, screen, device, rows_in)
    export(scorer, out, ("scorer.json", "scorer.safetensors"))
    report = record["result"]["report"]
    for warning in report["warnings"]:
        screen.warn(warning)
    if as_json:
        common.emit({"folder": str(out), "id": record["id"], **report})
    else:
        shown = [name for name in ("train_r2", "held_out_r2", "binned_mean_r2") if name in report]
        numbers = ", ".join(f"{name} {report[name]:.4f}" for name in shown)
        if "refined" in report:
            numbers += f"; refined to {report['refined']['validation_accuracy'][-1]:.2f} % on validation images"
        typer.echo(f"{out}: {numbers}")
