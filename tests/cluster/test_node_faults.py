"""Nodes that die in the midst of work, and one that does not see the storage."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from benchmarks.synthetic_features import save_synthetic_features
from commands import GRID, LONGER, RECIPE, Work, ended, start, wait_for, workers_of
from local_cluster import LocalCluster

import autosparse as asp
from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.irp import load_survival

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def busy(cluster):
    """The place of a node that has an actor at work."""
    for place, node in enumerate(cluster.nodes):
        titles = [Path(f"/proc/{pid}/cmdline").read_text() for pid in workers_of(node.raylet)]
        if any("IDLE" not in title and "Agent" not in title for title in titles):
            return place
    raise AssertionError("no node works")


def test_a_node_that_dies_in_mid_grid_costs_no_cell(two_nodes, tmp_path):
    work = Work(tmp_path, {"name": "grid", "grid": {**GRID, "recipe": LONGER, "seeds": list(range(60))}})
    process = work.start(cluster=two_nodes)
    wait_for(lambda: work.finished() >= 5, process)
    two_nodes.replace(0)
    code, _, err = ended(process)
    assert code == 0, err
    work.assert_each_once()
    work.assert_cells_as_alone(range(0, 60, 6))


def test_an_irp_run_whose_node_dies_goes_on_on_the_other_from_its_last_iteration(two_nodes, tmp_path):
    spec = {"model": "lenet-300-100", "dataset": "digits", "iterations": 12, "recipe": {**RECIPE, "epochs": 30}}
    work = Work(tmp_path / "here", {"name": "irp", "irp": {"snip": spec}})
    undisturbed = Work(tmp_path / "there", {"name": "irp", "irp": {"snip": spec}})
    irp = work.plan.irp[0].task
    states = work.store.states(irp)
    process = work.start(cluster=two_nodes)
    wait_for(lambda: states.newest() and states.newest().step >= 3, process)
    two_nodes.replace(busy(two_nodes))
    kept = {path: path.stat().st_mtime_ns for path in states.place.local.glob("*.json")}
    first = min(int(path.stem) for path in kept)
    wait_for(lambda: work.finished() == 1 or states.newest().step > max(int(path.stem) for path in kept), process)
    again = [path for path in states.place.local.glob("*.json") if int(path.stem) <= first]
    assert all(path.stat().st_mtime_ns == kept.get(path) for path in again), "an iteration was done twice"
    code, _, err = ended(process)
    assert code == 0, err
    work.assert_each_once()
    undisturbed.run()
    here, there = (load_survival(w.store.files_path("irp", irp.id) / "survival") for w in (work, undisturbed))
    assert all(torch.equal(here.survived[name], there.survived[name]) for name in there.survived)


def test_a_node_that_dies_in_mid_scoring_costs_no_shard(two_nodes, tmp_path):
    layers = {f"layer-{number:02d}.weight": (200_000,) for number in range(40)}
    save_synthetic_features(tmp_path / "features", layers, shard_rows=200_000)
    network = build_backbone("mlp", 2, 0)
    scorer = Scorer("mlp", ("param", "grad"), Standardisation((0.0, 0.0), (0.05, 0.002)), network.eval())
    scorer.save(tmp_path / "scorer")

    def score(out):
        arguments = ("score", "--scorer", tmp_path / "scorer", "--features", tmp_path / "features", "--out", out)
        return start(*arguments, "--sparsity", 0.9, "--exact", cluster=two_nodes)

    process = score(tmp_path / "out")
    wait_for(lambda: len(list((tmp_path / "out").glob("scores-*.parquet"))) >= 3, process)
    two_nodes.replace(1)
    code, _, err = ended(process)
    assert code == 0, err
    code, _, err = ended(score(tmp_path / "again"))
    assert code == 0, err
    disturbed, undisturbed = (asp.Masks.load(tmp_path / out / "masks.safetensors") for out in ("out", "again"))
    assert disturbed == undisturbed
    assert disturbed.kept == 800_000


@pytest.mark.parametrize("late", [False, True], ids=["there at the start", "joins later"])
def test_storage_that_a_node_does_not_see_is_refused_with_the_node_and_the_cure(tmp_path, late):
    hidden = f"mount -t tmpfs none {tmp_path}"
    if subprocess.run(["unshare", "-m", "sh", "-c", hidden], capture_output=True).returncode:
        pytest.skip("mount namespaces need a privilege that is not given here")
    ray = Path(sys.executable).with_name("ray")
    work = Work(tmp_path / "work", {"name": "blind", "grid": GRID})
    with LocalCluster(0 if late else 1) as cluster:
        join = f"{hidden} && exec {ray} start --address={cluster.address} --num-cpus=1 --object-store-memory=80000000"
        process = work.start(cluster=cluster) if late else None
        if process:
            wait_for(lambda: (work.storage / ".identity").exists(), process)
            time.sleep(10)  # by now it waits for a node
        blind = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"{join} --block"],
            env={**cluster.environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if process is None:
                wait_for(lambda: cluster.alive == 3)
                process = work.start(cluster=cluster)
            code, _, err = ended(process)
        finally:
            blind.terminate()
            blind.wait(60)
    if late:
        assert code == 1
        assert f"{work.storage} is not shared: this node cannot see the driver's files" in err
    else:
        assert code == 2
        assert f"{work.storage} is not shared: node " in err
        assert "a folder that all 3 nodes mount at this path" in err
    assert work.finished() == 0
