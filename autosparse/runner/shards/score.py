"""Score and prune a network of any size from shards of its features, in bounded memory, on one machine or many."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from autosparse.autos.predict import needs_surface, not_kept, tabulate
from autosparse.autos.scorer import Scorer, require_one_shot
from autosparse.criteria.autos import SPARSITIES, mode_for
from autosparse.errors import WorkFailed
from autosparse.files import atomic_folder, content_id, write_record
from autosparse.masks import Masks, keep_count
from autosparse.runner.driver.shared import require_shared
from autosparse.runner.settings import Settings
from autosparse.runner.shards.stream import PATIENCE, ShardStream
from autosparse.runner.shards.work import CountLow, MaskShard, ScoreShard
from autosparse.shards import Shard, Shards, open_features, require_inputs
from autosparse.shards.layout import pieces
from autosparse.shards.reader import read_column, read_sample
from autosparse.shards.sharded_topk import find_bin, make_cut
from autosparse.storage import Folder

logger = logging.getLogger(__name__)

OURS = ("scores-*.parquet", "masks-*.parquet", "masks.safetensors", "scores.json", ".*.parquet.*.tmp")
SILENCE = 60.0
"""Seconds without a surface after which the user is told."""
SAMPLE = 1 << 24
"""Most rows for which a surface is fitted; of more rows, it takes a sample."""
MANY = 100_000_000
"""Rows from which a pool of actors, which each hold the scorer, is worth its start."""
UNBOUND = (
    "%s is of an earlier version, without digests of its columns: permuted or exchanged values would go unnoticed; "
    "write it again to have them checked"
)
FITS = 1 << 28
"""Up to this many weights, the masks are written as one safetensors file, too."""


@dataclass(frozen=True)
class Scored:
    """The result for a folder of features; also in ``scores.json``."""

    rows: int
    shards: int
    kept: int | None = None
    """Number of weights that the masks keep."""
    certificate: dict[str, Any] | None = None
    """How well the surface agrees with the scorer's network, if one was used."""


def score_shards(
    scorer: Scorer,
    features: str | Path,
    out: str | Path,
    settings: Settings,
    sparsity: float | None = None,
    exact: bool = False,
    patience: float = PATIENCE,
) -> Scored:
    """Score every weight, and prune at ``sparsity``; ``out`` appears whole or not at all. Ray must be connected.

    Writes for each shard ``scores-*.parquet`` (``score``, float32, in the shard's order) and, with a sparsity,
    ``masks-*.parquet`` (``keep``, bool), and ``masks.safetensors`` if the network is small enough. Scores and masks
    equal those of ``asp.prune(model, "autos", sparsity, ...)``, with one exception: for more than 2^24 weights, a
    scorer's surface is fitted to a sample of them.

    :param features: a folder by :func:`autosparse.shards.save_features`, or a survival dataset; all workers see it.
    :param patience: seconds without any progress after which the work is given up.
    :raises WorkFailed: if a shard is damaged, kills its worker three times, or takes too long; it names the shard.
    """
    require_one_shot(scorer)
    shards = open_features(Path(features).absolute())
    require_inputs(shards, scorer.inputs)
    mode_for(scorer, shards.gradient_mode, f"gradient_mode of {shards.folder}")
    if not shards.bound:
        logger.warning(UNBOUND, shards.folder)
    k = None if sparsity is None else keep_count(shards.rows, sparsity)
    described = {"features": shards.provenance, "scorer": scorer.provenance, "shards": len(shards.files)}
    with atomic_folder(Path(out).absolute(), ours=OURS) as temporary:
        require_shared(Folder(temporary), "--out")
        stream = ShardStream(settings, temporary, patience)
        judge, certificate = ray.put(scorer), None
        if not exact and needs_surface(scorer, shards.rows):
            near = SPARSITIES if sparsity is None else (sparsity,)
            judge, certificate = _tabulated(judge, shards, near, settings.gpus_per_job)
        work = ScoreShard(judge, scorer.inputs, shards.shapes, str(temporary), described)
        actors = settings.gpus_per_job > 0 or shards.rows >= MANY
        counts = stream.map(work, shards.files, actors)
        kept = None if k is None else _prune(stream, shards, counts, k, temporary)
        for left in temporary.glob(".*.parquet.*.tmp"):
            left.unlink()  # left by a worker that died while it wrote
        result = Scored(shards.rows, len(shards.files), kept, certificate)
        write_record(temporary / "scores.json", {**asdict(result), **described, "sparsity": sparsity})
    return result


def _tabulated(
    scorer: ray.ObjectRef, shards: Shards, sparsities: Sequence[float], gpus: float
) -> tuple[ray.ObjectRef, dict[str, Any] | None]:
    """The surface and its certificate; or, with a warning, the scorer and None if the surface does not match it."""
    judge, certified = _fit_surface.options(num_gpus=gpus).remote(scorer, shards, sparsities)
    if not ray.wait([certified], timeout=SILENCE)[0]:
        logger.warning(
            "no surface of the scorer after %.0f s: it is being fitted, or waits for a CPU: see `ray status`", SILENCE
        )
    try:
        certificate = ray.get(certified)
    except ray.exceptions.RayTaskError as error:
        raise WorkFailed(str(error.cause)) from error
    except ray.exceptions.RayError as error:
        raise WorkFailed(f"Ray gave up tabulating the scorer: {str(error).strip().splitlines()[0]}") from error
    if isinstance(certificate, str):
        logger.warning("%s: scoring %d weights one by one", certificate, shards.rows)
        return judge, None
    return judge, certificate


@ray.remote(num_cpus=1, num_returns=2, max_retries=2)
def _fit_surface(scorer: Scorer, shards: Shards, sparsities: Sequence[float]) -> tuple[Any, dict[str, Any] | str]:
    """The surface with its certificate, or the scorer with a reason; on one thread, as in ``asp.prune``."""
    torch.set_num_threads(1)
    device = "cuda" if ray.get_gpu_ids() else "cpu"
    sample = read_sample(shards, scorer.inputs, SAMPLE)
    features = {name: torch.from_numpy(column).to(device) for name, column in sample.items()}
    verdict = tabulate(scorer, features, sparsities)
    if verdict.promise_kept and verdict.certificate:
        return verdict.table, asdict(verdict.certificate)
    return scorer, not_kept(scorer, verdict)


def _prune(stream: ShardStream, shards: Shards, counts: list[np.ndarray], k: int, folder: Path) -> int:
    """Write masks that keep the ``k`` highest scores, with ties broken by position; return how many they keep."""
    scored = [shard.as_in(folder, "scores") for shard in shards.files]
    high, needed = find_bin(np.sum(counts, axis=0), max(k, 1))
    cut = make_cut(high, stream.map(CountLow(high), scored), needed if k else 0)
    ties = {shard.path.name: count for shard, count in zip(scored, cut.ties, strict=True)}
    description = {"kept": k, "shards": len(scored), "scores": content_id(ties)}
    kept = sum(int(n[0]) for n in stream.map(MaskShard(cut.bits, ties, str(folder), description), scored))
    if kept != k:
        raise WorkFailed(f"{kept} weights were kept instead of {k}: the scores in {folder} changed under way")
    if shards.rows <= FITS:
        _join_masks(shards, [shard.as_in(folder, "masks") for shard in shards.files]).save(folder / "masks.safetensors")
    return kept


def _join_masks(shards: Shards, files: Sequence[Shard]) -> Masks:
    flat = np.concatenate([keep for shard in files for keep in read_column(shard, "keep")])
    whole = torch.from_numpy(flat)
    sizes = [part.stop for _, part in pieces(shards.shapes, range(shards.rows))]
    named = zip(shards.shapes.items(), whole.split(sizes), strict=True)
    return Masks({name: piece.view(shape) for (name, shape), piece in named})
