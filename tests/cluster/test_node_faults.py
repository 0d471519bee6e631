"""Nodes that die in the midst of work, and one that does not see the storage."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.synthetic_features import save_synthetic_features
from commands import GRID, LONGER, RECIPE, Work, command_of, ended, start, wait_for, workers_of
from faults.processes import busy_workers
from local_cluster import LocalCluster

import autosparse as asp
from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.irp import load_survival

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def busy(cluster):
    """The place of a node that has an actor at work; waits for one, because a worker may just have ended a task."""
    found = []

    def look():
        found[:] = [place for place, node in enumerate(cluster.nodes) if busy_workers([node.raylet])]
        return found

    wait_for(look)
    return found[0]


def halt_a_shard(node):
    """Stop a worker of a node as it scores a shard, so that the pass cannot end before the node dies; its id."""
    found = []

    def halt():
        found[:] = [pid for pid in workers_of(node.raylet) if "do_row" in command_of(pid)]
        with contextlib.suppress(ProcessLookupError):
            for pid in found:
                os.kill(pid, signal.SIGSTOP)
            return found
        return []

    wait_for(halt)
    return found[0]


def test_a_node_that_dies_in_mid_grid_costs_no_cell(two_nodes, tmp_path):
    work = Work(tmp_path, {"name": "grid", "grid": {**GRID, "recipe": LONGER, "seeds": list(range(60))}})
    process = work.start(cluster=two_nodes)
    wait_for(lambda: work.finished() >= 5, process)
    two_nodes.replace(0)
    code, _, err = ended(process)
    assert code == 0, err
    work.assert_each_once()
    work.assert_cells_as_alone(range(0, 60, 6))


def test_a_long_cell_whose_node_dies_goes_on_on_the_other_from_its_last_epoch(two_nodes, tmp_path):
    recipe = {"epochs": 2000, "batch_size": 64}
    often = {"AUTOSPARSE_CHECKPOINT_EVERY": "0"}
    work = Work(tmp_path, {"name": "long", "grid": {**GRID, "seeds": [0], "recipe": recipe}}, **often)
    [cell] = (planned.task for planned in work.plan.cells)
    process = work.start(cluster=two_nodes)
    wait_for(lambda: work.store.steps().get(cell.id, 0) >= 5, process)
    two_nodes.replace(busy(two_nodes))
    code, _, err = ended(process)
    assert code == 0, err
    [resumed_from] = work.store.record(cell)["environment"]["resumed_from"]
    assert 5 <= resumed_from < 2000
    work.assert_each_once()
    work.assert_cells_as_alone([0])


def test_an_irp_run_whose_node_dies_goes_on_on_the_other_from_its_last_iteration(two_nodes, tmp_path):
    spec = {"model": "lenet-300-100", "dataset": "digits", "iterations": 12, "recipe": {**RECIPE, "epochs": 30}}
    work = Work(tmp_path / "here", {"name": "irp", "irp": {"snip": spec}})
    undisturbed = Work(tmp_path / "there", {"name": "irp", "irp": {"snip": spec}})
    irp = work.plan.irp[0].task
    states = work.store.states(irp)
    process = work.start(cluster=two_nodes)
    wait_for(lambda: states.newest() and states.newest().step >= 3 * irp.recipe.epochs, process)
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


@pytest.fixture(scope="module")
def score(tmp_path_factory, two_nodes):
    """A function that starts to score a network of 8 million weights in 40 shards, on both nodes, into a folder."""
    folder = tmp_path_factory.mktemp("scored")
    layers = {f"layer-{number:02d}.weight": (200_000,) for number in range(40)}
    save_synthetic_features(folder / "features", layers, shard_rows=200_000)
    network = build_backbone("mlp", 2, 0)
    scorer = Scorer("mlp", ("param", "grad"), Standardisation((0.0, 0.0), (0.05, 0.002)), network.eval())
    scorer.save(folder / "scorer")
    what = ("--scorer", folder / "scorer", "--features", folder / "features", "--sparsity", 0.9, "--exact")
    return lambda out: start("score", *what, "--out", out, cluster=two_nodes)


@pytest.fixture(scope="module")
def undisturbed(score, tmp_path_factory):
    """The masks of a call that nothing disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    code, _, err = ended(score(out))
    assert code == 0, err
    masks = asp.Masks.load(out / "masks.safetensors")
    assert masks.kept == 800_000
    return masks


def shards_in(folder):
    """The identity of each file of scores, by name: its inode, and when it was written."""
    stats = {path.name: path.stat() for path in folder.glob("scores-*.parquet")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def in_work(out):
    """The folder in which scores for ``out`` are until all are there."""
    return out.with_name(f".{out.name}.work")


def test_nodes_that_die_in_mid_scoring_cost_no_shard(two_nodes, score, undisturbed, tmp_path):
    out = tmp_path / "out"
    process = score(out)
    halted = halt_a_shard(two_nodes.nodes[0])
    for place, shards in ((1, 3), (0, 20)):  # both: the work must not depend on any process of either
        wait_for(lambda shards=shards: len(shards_in(in_work(out))) >= shards, process)
        assert len(shards_in(in_work(out))) < 40, "it was done before its nodes died"
        two_nodes.replace(place)
    os.kill(halted, signal.SIGKILL)  # it cannot see that its node has died
    code, _, err = ended(process)
    assert code == 0, err
    assert asp.Masks.load(out / "masks.safetensors") == undisturbed


def test_scoring_that_is_stopped_goes_on_with_the_shards_that_are_missing(score, undisturbed, tmp_path):
    out = tmp_path / "out"
    process = score(out)
    wait_for(lambda: len(shards_in(in_work(out))) >= 3, process)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130, err
    held = shards_in(in_work(out))
    assert 3 <= len(held) < 40
    code, _, err = ended(score(out))
    assert code == 0, err
    found = shards_in(out)
    assert len(found) == 40
    assert held.items() <= found.items(), "a shard was scored twice"
    assert asp.Masks.load(out / "masks.safetensors") == undisturbed


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
            said = iter(process.stderr.readline, "")
            assert any(": 4 cells" in line for line in said), "it has looked at the nodes, and waits for one"
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
