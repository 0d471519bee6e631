"""Two users on one cluster: a driver each, one shared folder with a folder each, one MLflow, and nodes with labels."""

import itertools
import json
import subprocess
import sys

import pytest
from commands import GRID, IRP, Work, ended, start
from local_mlflow import MlflowServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

USERS = ("ann", "bob")


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and a node of one CPU for each user, with a label that says so."""
    from local_cluster import LocalCluster

    with LocalCluster(0) as cluster:
        cluster.nodes = [cluster.add(team=user) for user in USERS]
        yield cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder that all nodes see."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def server(shared):
    with MlflowServer(shared / "mlflow") as server:
        yield server


NODES_OF_SHARDS = """
import json, sys

import numpy as np
import ray
import torch

from autosparse.runner.driver.session import ray_session
from autosparse.runner.settings import Settings
from autosparse.shards import Shard

def node():
    return ray.get_runtime_context().get_node_id().encode()

settings = Settings(address=sys.argv[1], label_selector={"team": sys.argv[2]})
with ray_session(settings):
    from autosparse.runner.shards.mapped import RayMapped
    from autosparse.runner.shards.stream import ShardStream

    shards = [Shard("/", str(number), number, 1) for number in range(6)]
    stream, found = ShardStream(settings), {}
    for kind, actors in (("tasks", False), ("actors", True)):
        done = stream.map(lambda shard, beat: np.frombuffer(node(), np.int64), shards, actors)
        found[kind] = [counts.tobytes().decode() for _, counts in done]
    rows = RayMapped(settings)(lambda item: {"node": np.frombuffer(node(), np.uint8)}, range(6))
    found["rows"] = [bytes(batch["node"].numpy()).decode() for batch in rows]
print(json.dumps(found))
"""
"""A program that does work on shards, and prints on which node each shard was done."""


NODES_OF_HELPERS = """
import json, sys

import ray

from autosparse.runner.driver.session import ray_session
from autosparse.runner.settings import Settings

def node():
    return ray.get_runtime_context().get_node_id()

with ray_session(Settings(address=sys.argv[1])):
    from autosparse.runner.shards.stream import _Board, _Coordinator, _beside_driver

    helpers = [_beside_driver(kind, {}) for kind in 6 * [_Board, _Coordinator]]
    nodes = [helper.__ray_call__.remote(lambda self: node()) for helper in helpers]
    print(json.dumps([node(), *ray.get(nodes, timeout=120)]))
"""
"""A program that starts what watches over work on shards, several times, and prints its own node and theirs."""


class UsersWork(Work):
    """An experiment of one user; the grids of all users have the same cells."""

    def __init__(self, user, name, shared, server):
        folder = shared / user
        super().__init__(folder, {"name": f"{name}-{user}", "grid": GRID}, server.uri, folder / f"results-{name}")


def works(name, shared, server):
    return [UsersWork(user, name, shared, server) for user in USERS]


def test_two_drivers_at_a_time_stay_on_their_own_nodes_and_do_each_cell_once(cluster, shared, server):
    ann, bob = works("apart", shared, server)
    started = [
        work.start("--label-selector", f"team={user}", cluster=cluster)
        for user, work in zip(USERS, (ann, bob), strict=True)
    ]
    for process in started:
        code, _, err = ended(process)
        assert code == 0, err
    for work in (ann, bob):
        work.assert_each_once()
    assert [ann.nodes(), bob.nodes()] == [{node.id} for node in cluster.nodes]


def test_two_drivers_without_labels_share_the_nodes_and_do_each_cell_once(cluster, shared, server):
    both = works("together", shared, server)
    started = [work.start(cluster=cluster) for work in both]
    for process in started:
        code, _, err = ended(process)
        assert code == 0, err
    for work in both:
        work.assert_each_once()
    assert set.union(*(work.nodes() for work in both)) == {node.id for node in cluster.nodes}


def test_a_label_that_no_node_has_is_told_and_its_jobs_run_when_such_a_node_joins(cluster, shared, server):
    work = UsersWork("eve", "waiting", shared, server)
    process = work.start("--label-selector", "team=eve", "--workers", "1", cluster=cluster)
    told = list(itertools.takewhile(lambda line: "no node has the label team=eve" not in line, process.stderr))
    assert process.poll() is None, told
    assert not work.finished()
    node = cluster.add(team="eve")
    code, _, err = ended(process)
    assert code == 0, err
    work.assert_each_once()
    assert work.nodes() == {node.id}


def test_irp_runs_and_sweeps_go_to_nodes_with_the_label_too(cluster, shared, server):
    bob, node, folder = USERS[1], cluster.nodes[1].id, shared / "irp-of-bob"
    sweep = {"irp": "snip", "backbone": "mlp", "epochs": 1, "space": {"batch_size": {"choice": [64, 128]}}, "trials": 2}
    work = Work(folder, {"name": "sweep-bob", "irp": IRP, "sweeps": {"mine": sweep}}, server.uri)
    options = ("--storage", str(work.storage), "--tracking-uri", server.uri, "--label-selector", f"team={bob}")
    small = ("--iterations", "2", "--epochs", "1", "--seeds", "0,1")
    for command in (("irp", *small, "--out", str(folder / "out")), ("sweep", str(work.file))):
        code, _, err = ended(start(*command, *options, cluster=cluster))
        assert code == 0, err
    assert work.finished() == 2
    records = [json.loads(path.read_text()) for path in (work.storage / "irp").glob("*.json")]
    assert [record["environment"]["node"] for record in records] == [node] * 3


def test_work_on_shards_and_rows_goes_to_nodes_with_the_label_too(cluster):
    for user, node in zip(USERS, cluster.nodes, strict=True):
        command = [sys.executable, "-c", NODES_OF_SHARDS, cluster.address, user]
        ran = subprocess.run(command, env=cluster.environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout.splitlines()[-1]) == dict.fromkeys(("tasks", "actors", "rows"), 6 * [node.id])


def test_what_watches_over_the_shards_is_on_the_drivers_node_though_it_has_no_cpu(cluster):
    command = [sys.executable, "-c", NODES_OF_HELPERS, cluster.address]
    ran = subprocess.run(command, env=cluster.environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    drivers, *helpers = json.loads(ran.stdout.splitlines()[-1])
    assert len(helpers) == 12
    assert drivers not in {node.id for node in cluster.nodes}
    assert set(helpers) == {drivers}
