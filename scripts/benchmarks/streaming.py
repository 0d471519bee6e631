"""A network in shards scored and pruned by a stream in bounded memory, beside the same in memory in one process."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.autos.regression import Training
from autosparse.masks import Masks, keep_count
from autosparse.runner.driver.session import ray_session
from autosparse.runner.settings import Settings
from autosparse.shards import open_features, read_rows
from autosparse.shards.layout import Shapes
from benchmarks.harness import Comparison, Figure, Options, Result, seconds
from benchmarks.synthetic_features import save_synthetic_features
from benchmarks.watch import Watch

SPARSITY = 0.95
FULL, QUICK, IN_MEMORY = 1_000_000_000, 10_000_000, 20_000_000
LAYER = 4_000_000
"""Weights of a synthetic layer."""


def measure(options: Options) -> list[Result]:
    """A network in shards scored and pruned by a stream in bounded memory, beside the same in memory in one process."""
    rows = QUICK if options.quick else FULL
    scorer, cores = table_scorer(20_000 if options.quick else 200_000), os.cpu_count() or 1
    settings = Settings(workers=cores, gpus_per_job=1.0 if options.device.type == "cuda" else 0.0)
    with tempfile.TemporaryDirectory(prefix="autosparse-streaming-") as folder:
        features, out = Path(folder) / "features", Path(folder) / "out"
        written = seconds(lambda: save_synthetic_features(features, layers(rows), processes=cores))
        with ray_session(settings):
            from autosparse.runner.shards.score import score_shards  # here: it imports Ray

            with Watch() as watch:
                took = seconds(lambda: score_shards(scorer, features, out, settings, SPARSITY))
        kept, stages = sum_kept(out), watch.stages(out)
        exact = kept == keep_count(rows, SPARSITY)
        least = min(rows, IN_MEMORY)
        theirs = seconds(lambda: in_memory(scorer, features, layers(rows), least))
    name = f"{rows / 1e6:,.0f} M parameters from disk: scores, threshold, masks"
    notes = {
        "seconds": took, "features written in seconds": written, "cpu seconds per process": watch.cpu,
        "GiB per process": watch.memory, "bytes read": 16 * rows, "bytes written": 4.125 * rows,
        "stages in seconds": stages,
    }  # fmt: skip
    rate, largest = rows / took, max(watch.memory.values())
    # a small network is streamed in less time than workers take to start
    goal = ("", None) if options.quick else ("at least 20", rate >= 20e6)
    return [
        Comparison(name, f"{least / 1e6:,.0f} M in memory", "parameters/s", [least / theirs], [rate], notes=notes),
        Figure(f"{name}: rate", rate / 1e6, "M/s", *goal),
        Figure(f"{name}: largest process", largest, "GiB", "below 2", largest < 2),
        Figure(f"{name}: weights kept", kept, "weights", f"{keep_count(rows, SPARSITY):,}", exact),
    ]


def layers(rows: int) -> Shapes:
    """Layers of that many weights in all."""
    sizes = [min(LAYER, rows - start) for start in range(0, rows, LAYER)]
    return {f"layer-{number:03d}.weight": (size,) for number, size in enumerate(sizes)}


def table_scorer(rows: int) -> Scorer:
    """A conditional-mean scorer, fitted to made-up survival scores of so many features like the synthetic ones."""
    draws = torch.Generator().manual_seed(0)
    columns = [0.05 * torch.randn(rows, generator=draws), 0.002 * torch.randn(rows, generator=draws) ** 3]
    scaling = Standardisation.of(columns)
    network = build_backbone("conditional-mean", 2, 0)
    network.fit(scaling(columns), torch.sigmoid(20 * columns[0].abs() + 300 * columns[1].abs() - 2), Training(), 0)
    return Scorer("conditional-mean", ("param", "grad"), scaling, network.eval())


def in_memory(scorer: Scorer, features: Path, shapes: Shapes, rows: int) -> None:
    """Read, gather, score and select the first ``rows`` at once."""
    parts = list(read_first(features, shapes, scorer.inputs, rows))
    whole = {name: torch.cat([part[name] for part in parts])[:rows] for name in scorer.inputs}
    Masks.from_scores({"all": scorer.predict(whole)}, SPARSITY)


def read_first(features: Path, shapes: Shapes, inputs: Sequence[str], rows: int) -> Iterator[dict[str, Tensor]]:
    """Yield the first ``rows``, chunk by chunk, and no chunk more than that takes."""
    for shard in open_features(features).files:
        for chunk in read_rows(shard, shapes, inputs):
            yield {name: torch.tensor(column) for name, column in chunk.items()}
            rows -= len(chunk[inputs[0]])
            if rows <= 0:
                return


def sum_kept(out: Path) -> int:
    """Number of ones in the masks, counted independently."""
    return sum(int(pq.read_table(path)["keep"].to_numpy().sum()) for path in out.glob("masks-*.parquet"))
