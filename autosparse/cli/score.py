"""``autosparse score``: a scorer's verdict on every weight of a network, in memory or from shards of its features."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli import common

STOPPED = "interrupted: run the same command again"


def score(
    scorer: Annotated[
        str, typer.Option(help="Folder of the scorer (`autosparse fit --out`), or models:/autos@champion.")
    ],
    out: Annotated[str, typer.Option(help="Folder of the scores; with --features also s3:// or gs://.")],
    model: Annotated[str, typer.Option(help="See `autosparse list models`.")] = "lenet-300-100",
    dataset: Annotated[str, typer.Option(help="See `autosparse list datasets`.")] = "digits",
    seed: Annotated[int, typer.Option(help="Seed of the network's initialisation.")] = 0,
    features: Annotated[
        str | None,
        typer.Option(help="Folder (or s3://, gs://) of feature or survival shards to score instead of a model."),
    ] = None,
    sparsity: Annotated[
        float | None, typer.Option(help="With --features: write masks that remove this share.", callback=common.share)
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Ask the scorer's network about every weight.")] = False,
    data_root: common.DataRoot = None,
    download: common.Download = False,
    address: common.Address = None,
    label_selector: common.LabelSelector = None,
    workers: common.Workers = None,
    gpus_per_job: common.GpusPerJob = 0.0,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Score every prunable weight, and write Parquet with columns layer, position, score.

    With --features, score networks of any size: one file of scores per shard, in the shard's order. If it is
    stopped, the same command resumes it.
    """
    from autosparse.data import load_dataset
    from autosparse.errors import AutosparseError
    from autosparse.files import require_replaceable, require_writable
    from autosparse.runner.driver.stopping import interruptible
    from autosparse.runner.nodes import labels_from
    from autosparse.runner.settings import Settings
    from autosparse.runner.work.score import SCORES, score_network
    from autosparse.storage import Folder, place_at

    if features is None and sparsity is not None:
        raise AutosparseError("--sparsity goes with --features; a model is pruned by `autosparse run` or asp.prune")
    folder = Path(out)
    if isinstance(place_at(out), Folder):
        require_writable(folder.absolute().parent)
    elif features is None:
        raise AutosparseError(f"--out {out} goes with --features; the scores of a model go to a folder")
    loaded = common.find_scorer(scorer, tracking_uri)
    if features is not None:
        from autosparse.runner.driver.session import ray_session

        settings = Settings(
            address=address,
            workers=workers,
            gpus_per_job=gpus_per_job,
            label_selector=labels_from(label_selector or ()),
        )
        with interruptible(STOPPED), ray_session(settings):
            from autosparse.runner.shards.score import score_shards  # here: Ray reads its variables when it is imported

            scored = score_shards(loaded, features, out, settings, sparsity, exact)
        kept = "" if scored.kept is None else f", {scored.kept} weights kept"
        text = f"{out}: {scored.rows} scores in {scored.shards} shards{kept}"
        common.tell({"folder": out, **asdict(scored)}, text, as_json)
        return
    require_replaceable(folder, SCORES)
    data = load_dataset(dataset, data_root, download=download)
    with interruptible(STOPPED):
        rows = score_network(loaded, model, data, seed, folder, exact)
    certificate = loaded.verdict.certificate if loaded.verdict else None
    agreement = {"certificate": asdict(certificate)} if certificate else {}
    text = f"{out}: {rows} scores" + (f"\n{certificate.text}" if certificate else "")
    common.tell({"folder": out, "rows": rows, **agreement}, text, as_json)
