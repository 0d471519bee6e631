"""``autosparse`` in a process of its own, and what must be true of what it leaves."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml
from faults.processes import descendants

from autosparse.data import load_dataset
from autosparse.experiment.load import load_experiment
from autosparse.experiment.plan import make_plan
from autosparse.experiment.store import Store
from autosparse.runner.work.cells import run_cell
from autosparse.tracking.client import connect
from autosparse.tracking.search import WHOLE, all_runs

RECIPE = {"epochs": 2, "batch_size": 64}
LONGER = {"epochs": 8, "batch_size": 64}
IRP = {"snip": {"model": "lenet-300-100", "dataset": "digits", "iterations": 3, "seeds": [50], "recipe": RECIPE}}
GRID = {
    "models": ["lenet-300-100"],
    "datasets": ["digits"],
    "methods": ["random"],
    "sparsities": [0.9],
    "seeds": [0, 1, 2, 3],
    "recipe": RECIPE,
}
PATIENCE = 400
"""Seconds for what takes a few on an idle machine."""


class Work:
    """A folder with an experiment file, its storage and its MLflow store."""

    def __init__(self, folder, content, tracking_uri=None, storage=None, **environment):
        self.folder, self.file = folder, folder / f"{content['name']}.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(yaml.safe_dump(content))
        self.name, self.storage = content["name"], storage or folder / "results"
        self.tracking_uri = tracking_uri or f"sqlite:///{folder / 'mlflow.db'}"
        self.environment = {**os.environ, "RAY_TMPDIR": "/tmp", **environment}

    @property
    def plan(self):
        return make_plan(load_experiment(self.file).experiment)

    @property
    def store(self):
        return Store(self.storage)

    def start(self, *options, cluster=None):
        """Start ``autosparse run`` in the background."""
        where = ["--storage", str(self.storage), "--tracking-uri", self.tracking_uri]
        return start("run", str(self.file), *where, *options, cluster=cluster, environment=self.environment)

    def run(self, *options, cluster=None):
        """Run the same command to its end; return what it prints as JSON."""
        code, out, err = ended(self.start("--json", *options, cluster=cluster))
        assert code == 0, err
        return json.loads(out)

    def finished(self):
        """How many tasks have a whole record."""
        return sum(self.store.record(planned.task) is not None for planned in self.plan)

    def nodes(self):
        """The nodes that have finished a cell."""
        records = self.store.records([planned.task for planned in self.plan.cells])
        return {record["environment"]["node"] for record in records.values()}

    def runs(self):
        """The runs of tasks in MLflow."""
        client = connect(self.tracking_uri)
        runs = all_runs(client, client.get_experiment_by_name(self.name).experiment_id)
        return [run for run in runs if run.data.tags["kind"] != WHOLE]

    def assert_each_once(self):
        """Check that each task has a record and one finished run, a cell's with a point per epoch, and no other run."""
        tasks = {planned.task.id: planned.task for planned in self.plan}
        assert self.finished() == len(tasks)
        runs = self.runs()
        assert sorted(run.data.tags["task_id"] for run in runs) == sorted(tasks)
        assert {run.info.status for run in runs} == {"FINISHED"}
        client = connect(self.tracking_uri)
        for run in runs:
            task = tasks[run.data.tags["task_id"]]
            if task.kind == "cell":
                history = client.get_metric_history(run.info.run_id, "test_accuracy")
                assert [point.step for point in history] == list(range(1, task.recipe.epochs + 1))

    def assert_cells_as_alone(self, places):
        """Check that these cells, in the plan's order, are to the bit what this process makes of them."""
        store = self.store
        for place in places:
            cell = self.plan.cells[place].task
            here, there = run_cell(cell, store, load_dataset(cell.dataset), "cpu"), store.record(cell)["result"]
            same = ("history", "density_by_layer", "kept", "mask_sketch")
            assert {name: there[name] for name in same} == {name: here[name] for name in same}


def start(*arguments, cluster=None, environment=None):
    """Start ``autosparse ...`` in the background."""
    environment = {**(environment or os.environ), **(cluster.environment if cluster else {})}
    if cluster and arguments[0] in ("run", "score", "irp", "sweep"):
        arguments = (*arguments, "--address", cluster.address)
    command = [sys.executable, "-m", "autosparse", *map(str, arguments)]
    if hasattr(cluster, "inside"):  # its driver has a host of its own
        command = cluster.inside(*command)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process, within=PATIENCE):
    """Wait for the process to end; return its exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def wait_for(condition, process=None, within=PATIENCE):
    """Return once ``condition()`` holds; fail if ``process`` ends first."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"waited {within} s in vain"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def workers_of(pid):
    """Process ids of the Ray workers beneath a process, or beneath a raylet."""
    return [child for child in descendants(pid) if "ray::" in command_of(child)]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
