"""A grid on two nodes of one CPU beside the same on one node: cells a minute, start-up apart."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from local_cluster import LocalCluster

from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.store import Store
from benchmarks.harness import Comparison, Options, Result

Content = dict[str, Any]
GRID: Content = {
    "models": ["resnet20"],
    "datasets": ["digits"],
    "methods": ["magnitude"],
    "sparsities": [0.9, 0.98],
    "recipe": {"optimizer": "momentum", "lr": 0.1},
}
"""Equal cells of some seconds, each trained alone: packs would be smaller, and slower a cell, on two nodes."""


def measure(options: Options) -> list[Result]:
    """A grid on two nodes of one CPU beside the same on one node: cells a minute, start-up apart."""
    seeds, epochs, repetitions = (4, 4, 1) if options.quick else (24, 12, 2)
    content = content_of(seeds, epochs)
    one: list[float] = []
    two: list[float] = []
    with tempfile.TemporaryDirectory(prefix="autosparse-nodes-") as scratch:
        for repetition in range(repetitions):
            folder = Path(scratch) / str(repetition)
            with LocalCluster(1) as cluster:
                one.append(cells_per_minute(cluster, folder / "1", content))
                cluster.add()  # only now: an idle node takes 0.05 of a core
                two.append(cells_per_minute(cluster, folder / "2", content))
    name = f"{len(plan_of(content).cells)} cells of ResNet-20/digits on two nodes of one CPU"
    goal = None if options.quick else 1.8  # with few cells, the last ones of the two nodes end apart
    return [Comparison(name, "one node", "cells/min", one, two, goal)]


def content_of(seeds: int, epochs: int) -> Content:
    """The experiment file, with so many seeds, and epochs a cell."""
    recipe = {**GRID["recipe"], "epochs": epochs}
    return {"name": "nodes", "grid": {**GRID, "seeds": list(range(seeds)), "recipe": recipe}}


def plan_of(content: Content) -> Plan:
    """The plan of an experiment file with this content."""
    return make_plan(parse_experiment(content, "nodes"))


def cells_per_minute(cluster: LocalCluster, folder: Path, content: Content) -> float:
    """Run the grid, and return the rate at which its cells were done once every node was warm."""
    folder.mkdir(parents=True)
    file, store = folder / "nodes.yaml", Store(folder / "results")
    file.write_text(json.dumps(content))
    command = [sys.executable, "-m", "autosparse", "run", str(file), "--json", "--address", cluster.address]
    command += ["--storage", str(store.root), "--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    environment = {**cluster.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    ends: dict[str, list[int]] = {}
    for planned in plan_of(content).cells:
        record = store.record(planned.task)
        assert record
        ends.setdefault(record["environment"]["node"], []).append(record["ended_ms"])
    return 60_000 * warm_rate(ends)


def warm_rate(ends: dict[str, list[int]]) -> float:
    """Cells a millisecond, from when each node has done its first cell, in which it warms up, to the end of the last.

    :param ends: for each node, when its cells ended.
    """
    warm = max(map(min, ends.values()))
    counted = [end for cells in ends.values() for end in cells if end > warm]
    return len(counted) / (max(counted) - warm)
