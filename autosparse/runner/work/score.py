"""Scores and masks of one network, the same as those of a grid cell with its seed."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from autosparse.autos import Scorer
from autosparse.autos.scorer import require_one_shot
from autosparse.criteria import CRITERIA, prune, score
from autosparse.data.split import Batch, Dataset
from autosparse.errors import AutosparseError
from autosparse.files import atomic_folder, canonical_json
from autosparse.irp.rewind import SCORE_EXAMPLES
from autosparse.masks import Masks
from autosparse.models import build_model
from autosparse.seeds import generator
from autosparse.shards.layout import count_rows
from autosparse.shards.writer import label_rows

SCORES = ("scores.parquet",)


def score_network(
    scorer: Scorer, model_name: str, dataset: Dataset, seed: int, folder: Path, exact: bool = False
) -> int:
    """Score a network at initialisation and write ``scores.parquet``; return the number of rows.

    Columns: ``layer`` (dictionary string), ``position`` (int64, flat index in the layer), ``score`` (float32).
    The file's metadata and ``scorer.verdict`` say how the scores were found, and how well they agree with the scorer's
    network.
    """
    require_one_shot(scorer)
    model, batches = _network_of(model_name, dataset, seed)
    scores = score(model, "autos", batches, scorer=scorer, exact=exact)
    shapes = {name: tuple(s.shape) for name, s in scores.items()}
    layer, position = label_rows(shapes, range(count_rows(shapes)))
    values = torch.cat([s.flatten() for s in scores.values()]).numpy()
    provenance: dict[str, Any] = {"model": model_name, "dataset": dataset.name, "seed": seed}
    provenance["scorer"] = scorer.provenance
    if "grad" in scorer.inputs:
        provenance["gradient_mode"] = scorer.gradient_mode
    if scorer.verdict and scorer.verdict.certificate:
        provenance["certificate"] = asdict(scorer.verdict.certificate)
    table = pa.table({"layer": layer, "position": position, "score": values})
    table = table.replace_schema_metadata({b"autosparse.scores": canonical_json(provenance)})
    with atomic_folder(folder, ours=SCORES) as temporary:
        pq.write_table(table, temporary / SCORES[0])
    return table.num_rows


def masks_of(
    model_name: str, dataset: Dataset, criterion: str, sparsity: float, seed: int, scorer: Scorer | None = None
) -> Masks:
    """Masks at initialisation, equal to those of a grid cell with this seed.

    :raises AutosparseError: if the criterion trains while it scores, lacks a scorer, or takes none.
    """
    found = CRITERIA[criterion]
    if "training" in found.needs:
        raise AutosparseError(f"{criterion!r} trains the network while it scores; use `autosparse run`")
    if scorer is None and "scorer" in found.needs:
        raise AutosparseError(f"{criterion!r} needs --scorer, a folder or models:/autos@champion")
    if scorer is not None and "scorer" not in found.needs:
        raise AutosparseError(f"{criterion!r} takes no scorer; leave --scorer out")
    options: dict[str, Any] = {"scorer": scorer} if scorer is not None else {}
    if "seed" in found.options:
        options["seed"] = seed
    model, batches = _network_of(model_name, dataset, seed)
    return prune(model, criterion, sparsity, batches, **options)


def _network_of(model_name: str, dataset: Dataset, seed: int) -> tuple[nn.Module, list[Batch]]:
    """The network and the scoring images of a grid cell with this seed."""
    model = build_model(model_name, dataset.num_classes, dataset.input_shape, seed)
    return model, list(dataset.scoring_batches(generator(seed, "score"), limit=SCORE_EXAMPLES))
