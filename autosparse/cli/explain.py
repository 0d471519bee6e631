"""``autosparse explain SCORER``: what a scorer has learned."""

from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common
from autosparse.cli.irp import parse_seeds


def explain(
    scorer: Annotated[str, typer.Argument(help="Folder of the scorer, or models:/autos@champion.")],
    out: Annotated[Path, typer.Option(help="Folder of the explanation.")],
    sparsity: Annotated[float, typer.Option(help="Share of the weights to remove.", callback=common.share)] = 0.95,
    model: Annotated[str, typer.Option(help="See `autosparse list models`.")] = "lenet-300-100",
    dataset: Annotated[str, typer.Option(help="See `autosparse list datasets`.")] = "digits",
    seeds: Annotated[str, typer.Option(help="Seeds of the networks, comma-separated.")] = "0,1,2",
    epochs: Annotated[int, typer.Option(help="Epochs of each training.", min=1)] = 5,
    score_examples: Annotated[
        int, typer.Option(help="Images that the scorer gets; 0: all of the training split.", min=0)
    ] = 5120,
    device: common.Device = "auto",
    data_root: common.DataRoot = None,
    download: common.Download = False,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Say what each input of a scorer is worth in accuracy, and give a short formula that prunes like it.

    It prunes networks with the scorer, with each input permuted between all weights, and by the formula, and trains
    them. Measurements are kept: the same command resumes.
    """
    from autosparse.data import load_dataset
    from autosparse.files import require_writable, write_atomic
    from autosparse.report.figures_explain import dependence_figure, importance_figure
    from autosparse.report.style import draw_svg
    from autosparse.runner.driver.explain import Where
    from autosparse.runner.driver.explain import explain as find
    from autosparse.runner.driver.stopping import interruptible
    from autosparse.runner.work.gpu_check import device_named
    from autosparse.training import Recipe

    loaded = common.find_scorer(scorer, tracking_uri)
    where = Where(model, dataset, sparsity, tuple(parse_seeds(seeds)), Recipe(epochs=epochs), score_examples or None)
    require_writable(out.absolute().parent)
    device = device_named(device)
    data = load_dataset(dataset, data_root, device, download)
    with interruptible("interrupted: run the same command to go on"):
        found = find(
            loaded, where, data, out, device, lambda what, share: typer.echo(f"- {share:.0%}: {what}", err=True)
        )
    write_atomic(out / "importance.svg", draw_svg(lambda: importance_figure(found.rows), "importance").encode())
    write_atomic(out / "dependence.svg", draw_svg(lambda: dependence_figure(found.curves), "dependence").encode())
    summary = found.summary
    if as_json:
        common.emit(summary)
        return
    whole, formula = summary["accuracy"], summary["formula"]
    accuracy = common.plus_minus(whole["mean"], whole["half_width"])
    rows = [
        {
            "input": row["input"],
            "points lost when permuted": common.plus_minus(row["loss"], row["half_width"]),
            "significant": row["significant"],
        }
        for row in found.rows
    ]
    common.listing(rows, f"{scorer}: test accuracy {accuracy} % at {sparsity:.4g} sparsity, {model} on {dataset}")
    shown = common.plus_minus(formula["mean"], formula["half_width"])
    typer.echo(f"formula of {formula['terms']} terms, R² {formula['r2']:.3f} against the scorer, prunes to {shown} %:")
    typer.echo(f"  {formula['expression']}")
    for name, shapes in found.shapes.items():
        curves = ", ".join(f"{curve} {r2:.3f}" for curve, r2 in sorted(shapes.items(), key=lambda shape: -shape[1]))
        typer.echo(f"R² of the score as a curve in |{name}| alone: {curves}")
    typer.echo(f"figures and all numbers: {out}")
