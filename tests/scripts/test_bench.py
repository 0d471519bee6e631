"""``scripts/bench.py`` and the benchmark of nodes, which no other file here tests."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"

WAITING = """
import sys, time, types
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench

def measure(options):
    "Waits, as for a server that it has started."
    try:
        Path("started").touch()
        time.sleep(600)
        yield
    finally:
        Path("ended").touch()

sys.modules["benchmarks.waiting"] = types.SimpleNamespace(measure=measure)
bench.measured("waiting", None)
"""


def test_a_benchmark_whose_parent_has_ended_ends_what_it_has_started(tmp_path):
    parent = '"$0" -c "$@" & while [ ! -e started ]; do kill -0 $! && sleep 0.1 || exit 1; done'
    subprocess.run(["sh", "-c", parent, sys.executable, WAITING, SCRIPTS], cwd=tmp_path, check=True)
    until = time.monotonic() + 60
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.1)


@pytest.fixture
def nodes(benchmark_module):
    return benchmark_module("nodes")


def test_a_benchmark_on_a_gpu_is_no_fork(benchmark_module):
    """CUDA, once in use, works in no fork."""
    import bench

    assert bench.start_of_processes(torch.device("cuda")).get_start_method() == "spawn"


@pytest.mark.parametrize(("quick", "repetitions"), [(True, 1), (False, 2)])
def test_one_node_is_measured_before_a_second_joins(nodes, monkeypatch, quick, repetitions):
    @contextmanager
    def cluster(count):
        there = SimpleNamespace(count=count)
        there.add = lambda: setattr(there, "count", there.count + 1)
        yield there

    monkeypatch.setattr(nodes, "LocalCluster", cluster)
    monkeypatch.setattr(nodes, "cells_per_minute", lambda cluster, folder, content: cluster.count)
    (found,) = nodes.measure(SimpleNamespace(quick=quick))
    assert (found.baseline_rates, found.rates) == ([1] * repetitions, [2] * repetitions)


def test_the_rate_of_nodes_counts_from_when_the_last_one_is_warm(nodes):
    warm_rate = nodes.warm_rate
    assert warm_rate({"a": [10, 20, 30, 40, 50]}) == 4 / 40
    assert warm_rate({"a": [10, 20, 30, 40], "b": [25, 35, 45]}) == 4 / 20
