"""Which nodes of a cluster jobs may go to."""

import pytest

from autosparse.errors import AutosparseError
from autosparse.runner.driver import session
from autosparse.runner.driver.session import idle_gpus, worker_count
from autosparse.runner.jobs.loaders import Node, nodes_for
from autosparse.runner.jobs.tune_quiet import resources_of
from autosparse.runner.nodes import alive_nodes, labels_from, unmet
from autosparse.runner.settings import Settings

TEAM = {"team": "vision"}


def node(name, cpus, gpus=0, alive=True, **labels):
    labels = {"ray.io/node-id": name, **labels}
    return {"NodeID": name, "Alive": alive, "Labels": labels, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}}


@pytest.fixture
def cluster(monkeypatch, ray_running):
    """A cluster that claims to have these nodes."""
    import ray

    monkeypatch.setattr(session, "NODES_WITHIN", 0.0)
    nodes = [
        node("a", 8, 2, team="vision"),
        node("b", 4, 1, team="vision", market="spot"),
        node("c", 64, 8, team="speech"),
        node("d", 16),
        node("e", 32, 4, alive=False, team="vision"),
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, "abcd"),
        (TEAM, "ab"),
        ({"team": "vision", "market": "spot"}, "b"),
        ({"team": "speech", "market": "spot"}, ""),
        ({"ray.io/node-id": "d"}, "d"),
    ],
)
def test_jobs_may_go_to_the_nodes_that_have_all_labels(cluster, labels, expected):
    assert "".join(node["NodeID"] for node in alive_nodes(labels)) == expected


def test_only_what_those_nodes_have_is_counted(cluster):
    settings = Settings(label_selector=TEAM)
    assert worker_count(settings) == 12
    assert worker_count(Settings(label_selector=TEAM, gpus_per_job=0.5)) == 6
    assert idle_gpus(settings) == 3
    assert nodes_for(settings) == [Node(8, 2), Node(4, 1)]


def test_a_label_that_no_node_has_is_told_with_those_that_there_are(cluster):
    assert not unmet({})
    assert not unmet(TEAM)
    assert unmet({"team": "robots"}) == (
        "no node has the label team=robots (nodes have team=speech and team=vision and team=vision,market=spot): "
        "jobs wait for one to join"
    )
    with pytest.raises(AutosparseError, match="0 CPUs and 0 GPUs on nodes with team=robots: too few"):
        worker_count(Settings(label_selector={"team": "robots"}))


def test_ray_is_asked_for_the_labels():
    asked = resources_of(2, Settings(gpus_per_job=0.5, label_selector=TEAM))
    assert asked.bundles == [{"CPU": 2.0, "GPU": 0.5}]
    assert asked != resources_of(2, Settings(gpus_per_job=0.5))
    assert asked == resources_of(2, Settings(gpus_per_job=0.5, label_selector=dict(TEAM)))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["team=vision"], TEAM),
        (["team=vision", "team=vision", "ray.io/market-type=spot"], {**TEAM, "ray.io/market-type": "spot"}),
    ],
)
def test_labels_are_read_as_ray_start_takes_them(texts, expected):
    assert labels_from(texts) == expected


@pytest.mark.parametrize("text", ["team", "team=", "=vision", "team=!vision", "team=in(a,b)", "team=a=b", "team=a,b=c"])
def test_what_is_no_label_is_refused(text):
    with pytest.raises(AutosparseError, match="is not a label: write KEY=VALUE"):
        labels_from([text])
    with pytest.raises(AutosparseError, match="is not a label"):
        Settings(label_selector=dict([text.partition("=")[::2]]))


def test_two_values_of_one_label_are_refused():
    with pytest.raises(AutosparseError, match="two values: no node has both"):
        labels_from(["team=vision", "team=speech"])
