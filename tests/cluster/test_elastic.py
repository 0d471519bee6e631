"""A cluster that Ray's autoscaler grows for a grid and shrinks after it; its nodes are taken away as spot nodes are."""

import os
import random
import time
from types import SimpleNamespace

import pytest
from commands import GRID, Work, ended, wait_for
from elastic_cluster import ElasticCluster
from faults.experiment import FAST, PLUGIN, set_pace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

MOST, IDLE = 4, 10.0
"""Nodes, and the seconds without work after which one is ended."""
SEEDS = 60
SLOW = "1.5"
"""Seconds that a cell waits, so that work is left when all nodes have begun."""
LONG = 900
"""Seconds for nodes to come and go, of which an idle machine needs few."""


@pytest.fixture(scope="module")
def elastic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elastic")
    (folder / "chaos_plugin.py").write_text(PLUGIN)
    variables = {
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        "AUTOSPARSE_CHAOS_PACE": str(folder / "pace"),
    }
    with ElasticCluster(most=MOST, idle=IDLE, **variables) as cluster:
        yield SimpleNamespace(cluster=cluster, pace=folder / "pace", plugins=folder)


class ElasticWork(Work):
    """A grid of slow cells, which asks for more jobs than the cluster may have nodes."""

    def __init__(self, elastic, folder):
        grid = {**GRID, "methods": ["chaos-random"], "seeds": list(range(SEEDS))}
        super().__init__(folder, {"name": folder.name, "plugins": ["chaos_plugin"], "grid": grid})
        set_pace(elastic.pace, SLOW)


@pytest.fixture
def work(elastic, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(elastic.plugins)
    return ElasticWork(elastic, tmp_path / "work")


def test_a_cluster_without_a_node_grows_to_its_limit_for_a_grid_and_shrinks_after_it(elastic, work):
    wait_for(lambda: not elastic.cluster.nodes(), within=LONG)
    process, seen = work.start("--workers", "8", cluster=elastic.cluster), set()

    def all_have_begun():
        seen.add(len(elastic.cluster.nodes()))
        return len(work.nodes()) == MOST

    wait_for(all_have_begun, process, LONG)
    set_pace(elastic.pace, FAST)
    code, _, err = ended(process, LONG)
    assert code == 0, err
    assert max(seen) == MOST
    work.assert_each_once()
    work.assert_cells_as_alone(range(0, SEEDS, 6))
    wait_for(lambda: not elastic.cluster.nodes(), within=LONG)


def test_nodes_that_are_taken_away_with_notice_and_without_cost_no_cell(elastic, work):
    process, draws = work.start("--workers", "3", cluster=elastic.cluster), random.Random(0)
    taken = set()
    for notice in (0.0, 15.0, 0.0):
        wait_for(lambda: elastic.cluster.nodes().keys() & work.nodes() - taken, process, LONG)
        node = draws.choice(sorted(elastic.cluster.nodes().keys() & work.nodes() - taken))
        elastic.cluster.take(node, notice)
        taken.add(node)
    set_pace(elastic.pace, FAST)
    code, _, err = ended(process, LONG)
    assert code == 0, err
    assert not taken & elastic.cluster.nodes().keys()
    work.assert_each_once()
    work.assert_cells_as_alone(range(0, SEEDS, 6))


def test_a_cluster_keeps_the_nodes_that_it_must_have():
    with ElasticCluster(least=1, most=2, idle=2) as cluster:
        wait_for(lambda: len(cluster.nodes()) == 1, within=LONG)
        time.sleep(15)  # several times the seconds after which a node without work is ended
        assert len(cluster.nodes()) == 1
