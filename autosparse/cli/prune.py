"""``autosparse prune``: the masks of one network."""

from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common


def prune(
    out: Annotated[Path, typer.Option(help="File of the masks (safetensors).")],
    sparsity: Annotated[
        float, typer.Option(help="Share of the weights, or channels, to remove.", callback=common.share)
    ],
    criterion: Annotated[str, typer.Option(help="See `autosparse list criteria`.")] = "autos",
    scorer: Annotated[
        str | None, typer.Option(help="A scorer for autos: its folder, or models:/autos@champion.")
    ] = None,
    model: Annotated[str, typer.Option(help="See `autosparse list models`.")] = "lenet-300-100",
    dataset: Annotated[str, typer.Option(help="See `autosparse list datasets`.")] = "digits",
    seed: Annotated[int, typer.Option(help="Seed of the network's initialisation.")] = 0,
    data_root: common.DataRoot = None,
    download: common.Download = False,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Prune one network at initialisation and write its masks."""
    from autosparse.data import load_dataset
    from autosparse.errors import AutosparseError
    from autosparse.files import require_writable
    from autosparse.runner.driver.stopping import interruptible
    from autosparse.runner.work.score import masks_of

    if out.is_dir():
        raise AutosparseError(f"--out {out} is a folder: name a file in it, such as {out / 'masks.safetensors'}")
    require_writable(out.absolute().parent)
    held = common.find_scorer(scorer, tracking_uri) if scorer else None
    data = load_dataset(dataset, data_root, download=download)
    with interruptible("interrupted: nothing was written"):
        masks = masks_of(model, data, criterion, sparsity, seed, held)
        masks.save(out)
    told = {"file": str(out), "kept": masks.kept, "total": masks.total, "sparsity": masks.sparsity}
    common.tell(told, f"{out}: {masks.kept:,} of {masks.total:,} weights stay", as_json)
