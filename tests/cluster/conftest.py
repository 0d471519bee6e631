"""Clusters of several nodes, and commands that run on them in processes of their own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("nodes"))  # one cluster at a time


@pytest.fixture(scope="module")
def two_nodes():
    """A head without CPUs and two nodes of one each."""
    from local_cluster import LocalCluster

    with LocalCluster(2) as cluster:
        yield cluster
