"""A network in shards scored and pruned by a stream in bounded memory, beside the same in memory in one process."""

import os
import tempfile
import threading
import time
from pathlib import Path

import torch

from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.autos.regression import Training
from autosparse.masks import Masks, keep_count
from autosparse.runner.driver.session import ray_session
from autosparse.runner.settings import Settings
from autosparse.shards import open_features, read_rows
from autosparse.shards.layout import Shapes
from autosparse.shards.synthetic import save_synthetic_features
from benchmarks.harness import Comparison, Figure, Options, Result, seconds

SPARSITY = 0.95
FULL, QUICK = 1_000_000_000, 20_000_000
LAYER = 4_000_000
"""Weights of a synthetic layer."""


def measure(options: Options, rows: int | None = None) -> list[Result]:
    """A network in shards scored and pruned by a stream in bounded memory, beside the same in memory in one process."""
    rows = rows or (QUICK if options.quick else FULL)
    scorer, cores = table_scorer(), os.cpu_count() or 1
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
        least = min(rows, QUICK)
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


def table_scorer() -> Scorer:
    """A conditional-mean scorer, fitted to a made-up survival score of features like the synthetic ones."""
    draws = torch.Generator().manual_seed(0)
    columns = [0.05 * torch.randn(200_000, generator=draws), 0.002 * torch.randn(200_000, generator=draws) ** 3]
    scaling = Standardisation.of(columns)
    network = build_backbone("conditional-mean", 2, 0)
    network.fit(scaling(columns), torch.sigmoid(20 * columns[0].abs() + 300 * columns[1].abs() - 2), Training(), 0)
    return Scorer("conditional-mean", ("param", "grad"), scaling, network.eval())


def in_memory(scorer: Scorer, features: Path, shapes: Shapes, rows: int) -> None:
    """Read, gather, score and select the first ``rows`` at once."""
    shards = open_features(features)
    parts, count = [], 0
    for shard in shards.files:
        if count < rows:
            parts += [{name: torch.tensor(c) for name, c in p.items()} for p in read_rows(shard, shapes, scorer.inputs)]
            count += shard.rows
    whole = {name: torch.cat([part[name] for part in parts])[:rows] for name in scorer.inputs}
    Masks.from_scores({"all": scorer.predict(whole)}, SPARSITY)


def sum_kept(out: Path) -> int:
    """Number of ones in the masks, counted independently."""
    import pyarrow.parquet as pq

    return sum(int(pq.read_table(path)["keep"].to_numpy().sum()) for path in out.glob("masks-*.parquet"))


class Watch:
    """Watches peak memory and CPU time of this process and all its descendants, including Ray's; a context manager."""

    def __enter__(self) -> "Watch":
        self.memory: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self.started, self.done = time.time(), threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def stages(self, out: Path) -> dict[str, float]:
        """Seconds after the start at which the first and last file of each kind were finished."""
        ends = {kind: sorted(path.stat().st_mtime for path in out.glob(f"{kind}-*")) for kind in ("scores", "masks")}
        return {
            f"{which} {kind}": times[at] - self.started
            for kind, times in ends.items()
            for which, at in (("first", 0), ("last", -1))
        }

    def _look(self) -> None:
        while not self.done.wait(0.5):
            for process in descendants(os.getpid()):
                try:
                    lines = dict(
                        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines()
                    )
                    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                    name = f"{lines['Name'].strip()} {process}"
                    self.memory[name] = int(lines["VmHWM"].split()[0]) / 2**20
                    self.cpu[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                except (OSError, KeyError, ValueError):
                    continue  # it has just ended


def descendants(root: int) -> list[int]:
    """``root`` and all processes that descend from it (Linux)."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found
