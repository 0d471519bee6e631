"""Scores of a network as Parquet."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from autosparse.autos import Scorer
from autosparse.autos.scorer import require_one_shot
from autosparse.criteria import score
from autosparse.data.split import Dataset
from autosparse.files import atomic_folder, canonical_json
from autosparse.irp.rewind import SCORE_EXAMPLES
from autosparse.models import build_model
from autosparse.seeds import generator
from autosparse.shards.layout import count_rows
from autosparse.shards.writer import label_rows

SCORES = ("scores.parquet",)


def score_network(
    scorer: Scorer, model_name: str, dataset: Dataset, seed: int, folder: Path, exact: bool = False
) -> int:
    """Score a network at initialisation and write ``scores.parquet``; returns the number of rows.

    Columns: ``layer`` (dictionary string), ``position`` (int64, flat index in the layer), ``score`` (float32).
    With the seed of a grid cell, the network and gradient are the cell's. The file's metadata and ``scorer.verdict``
    say how the scores were found, and how well they agree with the scorer's network.
    """
    require_one_shot(scorer)
    model = build_model(model_name, dataset.num_classes, dataset.input_shape, seed)
    batches = list(dataset.scoring_batches(generator(seed, "score"), limit=SCORE_EXAMPLES))
    scores = score(model, "autos", batches, scorer=scorer, exact=exact)
    shapes = {name: tuple(s.shape) for name, s in scores.items()}
    layer, position = label_rows(shapes, range(count_rows(shapes)))
    values = torch.cat([s.flatten() for s in scores.values()]).numpy()
    provenance: dict[str, Any] = {
        "model": model_name,
        "dataset": dataset.name,
        "seed": seed,
        "scorer": scorer.provenance,
    }
    if "grad" in scorer.inputs:
        provenance["gradient_mode"] = scorer.gradient_mode
    if scorer.verdict and scorer.verdict.certificate:
        provenance["certificate"] = asdict(scorer.verdict.certificate)
    table = pa.table({"layer": layer, "position": position, "score": values})
    with atomic_folder(folder, ours=SCORES) as temporary:
        pq.write_table(
            table.replace_schema_metadata({b"autosparse.scores": canonical_json(provenance)}), temporary / SCORES[0]
        )
    return table.num_rows
