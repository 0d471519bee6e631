"""Faults in a small run of their own, beside the experiment; each returns the number of things that went wrong."""

import contextlib
import io
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from local_cluster import LocalCluster
from local_hosts import LocalHosts
from PIL import Image

from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store

Cluster = LocalCluster | LocalHosts
CELL = {"models": ["lenet-300-100"], "methods": ["random"], "sparsities": [0.5], "recipe": {"epochs": 1}}
ANSWERS = "import sys; from autosparse.tracking.client import connect; connect(sys.argv[1]).search_experiments()"
"""A program that connects to the MLflow store of its argument."""
TABLES = 1 << 20
"""Bytes of MLflow's tables without rows, and a few more: some kills come as the database takes them over."""
IMAGES, CLASSES = 120, 4


class Apart:
    """An experiment of a few cells in ``folder``, with its own storage and MLflow store."""

    def __init__(self, folder: Path, cluster: Cluster, dataset: str):
        folder.mkdir(parents=True)
        self.folder, self.cluster, self.dataset = folder, cluster, dataset
        self.uri, self.store = f"sqlite:///{folder / 'mlflow.db'}", Store(folder / "results")

    def start(self, seeds: int, *options: str) -> subprocess.Popen[str]:
        """Start ``autosparse run`` of a few cells."""
        content = {"name": "apart", "grid": {**CELL, "datasets": [self.dataset], "seeds": list(range(seeds))}}
        self.plan: Plan = make_plan(parse_experiment(content, "apart"))
        (self.folder / "apart.yaml").write_text(json.dumps(content))
        command = [sys.executable, "-m", "autosparse", "run", str(self.folder / "apart.yaml"), "--json"]
        command += ["--storage", str(self.store.root), "--tracking-uri", self.uri, "--data-root", str(self.folder)]
        return subprocess.Popen(
            self.cluster.inside(*command, *options),
            env=self.cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, seeds: int, *options: str) -> tuple[int, str]:
        """Start it and wait; return its exit code and its stderr."""
        process = self.start(seeds, "--workers", "1", *options)
        _, told = process.communicate()
        return process.returncode, told

    @property
    def fingerprints(self) -> list[str | None]:
        """Fingerprints of the data that each cell was trained on."""
        records = [self.store.record(planned.task) for planned in self.plan.cells]
        return [record["result"]["dataset_fingerprint"] if record else None for record in records]


def kill_in_migration(folder: Path, cluster: Cluster, dice: random.Random) -> int:
    """Kill a start while it makes MLflow's tables in SQLite; the next start must make them, and leave nothing else."""
    apart = Apart(folder, cluster, "digits")
    process, enough = apart.start(1, "--address", cluster.address), dice.uniform(0, TABLES)
    while _written(folder) <= enough and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    answers = subprocess.run([sys.executable, "-c", ANSWERS, apart.uri], env=cluster.environment, capture_output=True)
    left = [path for path in folder.iterdir() if path.name.startswith(".mlflow.db")]
    return int(answers.returncode != 0) + len(left)


def _written(folder: Path) -> int:
    """Bytes of the database and of the copy in which its tables are made."""
    size = 0
    for path in folder.glob("*mlflow.db*"):
        with contextlib.suppress(FileNotFoundError):  # it has been removed meanwhile
            size += path.stat().st_size
    return size


def change_data(folder: Path, cluster: Cluster, dice: random.Random) -> int:
    """Change labels under the same name: a run must refuse them, name the option that helps, and with it redo all."""
    apart = Apart(folder, cluster, "parquet:changing")
    pixels = np.random.default_rng(dice.randrange(1 << 30)).integers(0, 256, (IMAGES, 8, 8), dtype=np.uint8)
    labels = [index % CLASSES for index in range(IMAGES)]
    _write(folder / "changing", pixels, labels)
    wrong = int(apart.run(2)[0] != 0)
    [before] = set(apart.fingerprints)
    dice.shuffle(labels)
    _write(folder / "changing", pixels, labels)
    code, told = apart.run(3)
    wrong += int(code == 0 or "--redo-changed" not in told) + int(set(apart.fingerprints) - {before, None} != set())
    wrong += int(apart.run(3, "--redo-changed")[0] != 0)
    after = set(apart.fingerprints)
    return wrong + int(len(after) != 1 or before in after or None in after)


def _write(folder: Path, pixels: np.ndarray, labels: list[int]) -> None:
    """Write a data set in the Hugging Face layout; every third image is for testing."""
    folder.mkdir(exist_ok=True)
    for split, test in (("train", False), ("test", True)):
        rows = [index for index in range(len(labels)) if (index % 3 == 0) == test]
        images = pa.array([{"bytes": _png(pixels[row])} for row in rows], pa.struct([("bytes", pa.binary())]))
        table = pa.table({"image": images, "label": pa.array([labels[row] for row in rows])})
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
