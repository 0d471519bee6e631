"""Score and prune a network of any size from shards of its features, in bounded memory, on one machine or many."""

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from safetensors.torch import save

from autosparse.autos.predict import needs_surface, not_kept, tabulate
from autosparse.autos.scorer import Scorer, require_one_shot
from autosparse.autos.table import Table
from autosparse.criteria.autos import SPARSITIES, mode_for
from autosparse.errors import WorkFailed, first_line
from autosparse.files import canonical_json, content_id, pack_record
from autosparse.masks import Masks, keep_count
from autosparse.runner.driver.shared import require_shared
from autosparse.runner.settings import Settings
from autosparse.runner.shards.out import MANIFEST, MASKS, kept_until_whole
from autosparse.runner.shards.stream import ShardStream
from autosparse.runner.shards.work import JUDGE, CountEqual, CountLow, MaskShard, ScoreShard
from autosparse.shards import Shard, Shards, open_features, require_inputs
from autosparse.shards.reader import read_column, read_sample
from autosparse.shards.sharded_topk import Cut, add_up, find_bin, make_cut
from autosparse.storage import Place, place_at
from autosparse.storage.lease import LEASE
from autosparse.storage.lock import LOCK
from autosparse.version import __version__

logger = logging.getLogger(__name__)

KINDS = ("scores", "masks")
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
) -> Scored:
    """Score every weight, and prune at ``sparsity``; ``out`` appears whole or not at all. Ray must be connected.

    If scoring was stopped or failed, the same call goes on with it: shards of scores stay if they are whole, and of the
    same features and scorer to the bit. See :mod:`autosparse.runner.shards.out` for where they wait.

    Writes for each shard ``scores-*.parquet`` (``score``, float32, in the shard's order) and, with a sparsity,
    ``masks-*.parquet`` (``keep``, bool), and ``masks.safetensors`` if the network is small enough. Scores and masks
    equal those of ``asp.prune(model, "autos", sparsity, ...)``, with one exception: for more than 2^24 weights, a
    scorer's surface is fitted to a sample of them.

    :param features: a folder by :func:`autosparse.shards.save_features`, or a survival dataset; a folder that all
        workers see, or ``s3://`` or ``gs://``.
    :param out: also a folder that all workers see, or an address.
    :raises WorkFailed: if a shard is damaged, kills its worker three times, or takes too long, see
        :data:`autosparse.runner.shards.stream.PATIENCE`; it names the shard.
    """
    require_one_shot(scorer)
    shards = open_features(features)
    require_inputs(shards, scorer.inputs)
    mode_for(scorer, shards.gradient_mode, f"gradient_mode of {shards.folder}")
    if not shards.bound:
        logger.warning(UNBOUND, shards.folder)
    k = None if sparsity is None else keep_count(shards.rows, sparsity)
    described = {"features": shards.provenance, "scorer": scorer.provenance, "shards": len(shards.files)}
    with kept_until_whole(place_at(out)) as place:
        require_shared(place, "--out", labels=settings.label_selector)
        stream = ShardStream(settings)
        judge, certificate, named = ray.put(scorer), None, judge_id(scorer)
        if not exact and needs_surface(scorer, shards.rows):
            near = SPARSITIES if sparsity is None else (sparsity,)
            judge, certificate, named = _tabulated(judge, shards, near, settings)
        on = "cuda" if settings.gpus_per_job else "cpu"
        named = content_id([named, on, torch.__version__, __version__])
        work = ScoreShard(judge, scorer.inputs, shards.shapes, place.address, {**described, JUDGE: named})
        actors = settings.gpus_per_job > 0 or shards.rows >= MANY
        counts = add_up(each for _, each in stream.map(work, shards.files, actors))
        kept = None if k is None else _prune(stream, shards, counts, k, place)
        result = Scored(shards.rows, len(shards.files), kept, certificate)
        kinds = KINDS[:1] if kept is None else KINDS
        made = {shard.as_in("", kind).name for shard in shards.files for kind in kinds}
        if kept is not None and shards.rows <= FITS:
            made.add(MASKS)
        for left in set(place.names()) - made - {LOCK, LEASE}:
            place.remove(left)  # by a worker that died while it wrote, or by an earlier call with other arguments
        place.write(MANIFEST, pack_record({**asdict(result), **described, "sparsity": sparsity}))
    return result


def _tabulated(
    scorer: ray.ObjectRef, shards: Shards, sparsities: Sequence[float], settings: Settings
) -> tuple[ray.ObjectRef, dict[str, Any] | None, str]:
    """The surface, its certificate and its name.

    If the surface does not match: warn, and return the scorer, None, and the scorer's name.
    """
    judge, certified = _fit_surface.options(num_gpus=settings.gpus_per_job, **settings.placement).remote(
        scorer, shards, sparsities
    )
    if not ray.wait([certified], timeout=SILENCE)[0]:
        logger.warning(
            "no surface of the scorer after %.0f s: it is being fitted, or waits for a CPU: see `ray status`", SILENCE
        )
    try:
        certificate, named = ray.get(certified)
    except ray.exceptions.RayTaskError as error:
        raise WorkFailed(str(error.cause)) from error
    except ray.exceptions.RayError as error:
        raise WorkFailed(f"Ray gave up tabulating the scorer: {first_line(error)}") from error
    if isinstance(certificate, str):
        logger.warning("%s: scoring %d weights one by one", certificate, shards.rows)
        return judge, None, named
    return judge, certificate, named


@ray.remote(num_cpus=1, num_returns=2, max_retries=2)
def _fit_surface(
    scorer: Scorer, shards: Shards, sparsities: Sequence[float]
) -> tuple[Any, tuple[dict[str, Any] | str, str]]:
    """The surface, its certificate and its name; on one thread, like ``prune``.

    If the surface does not match: the scorer, the reason, and the scorer's name.
    """
    torch.set_num_threads(1)
    device = "cuda" if ray.get_gpu_ids() else "cpu"
    sample = read_sample(shards, scorer.inputs, SAMPLE)
    features = {name: torch.from_numpy(column).to(device) for name, column in sample.items()}
    verdict = tabulate(scorer, features, sparsities)
    if verdict.promise_kept and verdict.certificate and verdict.table is not None:
        return verdict.table, (asdict(verdict.certificate), judge_id(verdict.table))
    return scorer, (not_kept(scorer, verdict), judge_id(scorer))


def _prune(stream: ShardStream, shards: Shards, counts: np.ndarray, k: int, place: Place) -> int:
    """Write masks that keep the ``k`` highest scores, with ties broken by position; return how many they keep."""
    scored, masks = ([shard.as_in(place.address, kind) for shard in shards.files] for kind in KINDS)
    high, needed = find_bin(counts, max(k, 1))
    cut = make_cut(high, add_up(each for _, each in stream.map(CountLow(high), scored)), needed if k else 0)
    ties = {shard.name: count for shard, count in zip(scored, _ties(stream, cut, scored), strict=True)}
    description = {"kept": k, "shards": len(scored), "scores": content_id(ties)}
    kept = sum(int(n[0]) for _, n in stream.map(MaskShard(cut.bits, ties, place.address, description), scored))
    if kept != k:
        raise WorkFailed(f"{kept} weights were kept instead of {k}: the scores in {place} changed under way")
    if shards.rows <= FITS:
        with place.made(MASKS) as path:
            _join_masks(shards, masks).save(path)
    return kept


def _ties(stream: ShardStream, cut: Cut, scored: Sequence[Shard]) -> Sequence[int]:
    """The most scores equal to the cut that each shard keeps; it keeps the first of them."""
    if cut.kept in (0, cut.equal):  # none, or all
        return [cut.kept] * len(scored)
    equal = [0] * len(scored)
    for number, count in stream.map(CountEqual(cut.bits), scored):
        equal[number] = int(count[0])
    return cut.share(equal)


def _join_masks(shards: Shards, files: Sequence[Shard]) -> Masks:
    flat = torch.from_numpy(np.concatenate([keep for shard in files for keep in read_column(shard, "keep")]))
    layers = flat.split([math.prod(shape) for shape in shards.shapes.values()])
    named = zip(shards.shapes.items(), layers, strict=True)
    return Masks({name: layer.view(shape) for (name, shape), layer in named})


def judge_id(judge: Scorer | Table) -> str:
    """64 hex digits that name all that the scores of a scorer, or of its surface, depend on besides the features."""
    if isinstance(judge, Scorer):
        about = [judge.backbone, list(judge.inputs), asdict(judge.standardisation)]
        tensors = judge.network.state_dict()
    else:
        about, tensors = ["surface"], {"values": judge.values}
        tensors |= {f"nodes {axis}": nodes for axis, nodes in enumerate(judge.nodes)}
    digest = hashlib.sha256(canonical_json(about).encode())
    digest.update(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))
    return digest.hexdigest()
