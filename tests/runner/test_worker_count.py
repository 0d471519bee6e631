"""How many jobs run side by side on what the cluster has."""

import pytest

from autosparse.errors import AutosparseError
from autosparse.runner.driver import session
from autosparse.runner.driver.session import idle_gpus, job_count, worker_count
from autosparse.runner.settings import Settings


@pytest.fixture
def cluster(monkeypatch, ray_running):
    """A cluster that claims to have these resources."""
    import ray

    monkeypatch.setattr(session, "NODES_WITHIN", 0.0)

    def claim(**resources):
        monkeypatch.setattr(ray, "cluster_resources", lambda: resources)

    return claim


@pytest.mark.parametrize(
    ("cpus", "gpus", "per_job", "expected"),
    [
        (16, 1, 0.25, 4),
        (16, 2, 0.25, 8),
        (3, 1, 0.25, 3),  # each takes a CPU too
        (16, 2, 0.4, 4),  # a job cannot take a part of each of two GPUs
        (64, 3, 0.1, 30),
        (64, 1, 0.7, 1),
        (16, 2, 1, 2),
        (16, 5, 2, 2),
        (16, 0, 0, 16),
        (16, 4, 0, 16),
    ],
)
def test_jobs_share_gpus_as_they_are_told(cluster, cpus, gpus, per_job, expected):
    cluster(CPU=float(cpus), GPU=float(gpus))
    assert worker_count(Settings(gpus_per_job=per_job)) == expected


@pytest.mark.parametrize(("gpus", "per_job", "idle"), [(4, 0, 4), (4, 0.25, 0), (0, 0, 0)])
def test_gpus_that_no_job_asks_for_are_counted(cluster, gpus, per_job, idle):
    cluster(CPU=16.0, GPU=float(gpus))
    assert idle_gpus(Settings(gpus_per_job=per_job)) == idle


def test_no_more_jobs_than_asked_for(cluster):
    cluster(CPU=16.0, GPU=1.0)
    assert worker_count(Settings(gpus_per_job=0.25, workers=3)) == 3


def test_jobs_wait_for_the_nodes_that_a_cluster_adds_for_them(cluster):
    cluster(CPU=0.0)  # an autoscaled cluster at rest
    assert job_count(Settings(address="head:6379", gpus_per_job=0.25, workers=32)) == 32
    with pytest.raises(AutosparseError, match="--workers for a cluster that grows"):
        job_count(Settings(address="head:6379", gpus_per_job=0.25))


def test_an_address_in_the_environment_is_that_of_a_cluster_too(cluster, monkeypatch):
    cluster(CPU=0.0)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert job_count(Settings(gpus_per_job=0.25, workers=32)) == 32


def test_part_of_several_gpus_is_refused(cluster):
    cluster(CPU=16.0, GPU=4.0)
    with pytest.raises(AutosparseError, match=r"--gpus-per-job 1\.5 is neither a share of one GPU nor a whole number"):
        worker_count(Settings(gpus_per_job=1.5))


@pytest.mark.parametrize("resources", [{"CPU": 8.0}, {"CPU": 8.0, "GPU": 1.0}])
def test_too_few_gpus_are_told_of(cluster, resources):
    cluster(**resources)
    with pytest.raises(AutosparseError, match="too few for a job of 1 CPU and 2 GPUs; see --gpus-per-job"):
        worker_count(Settings(gpus_per_job=2))
