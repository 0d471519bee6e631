"""The processes that decode for a job: their CPUs are asked of Ray, are promised once, and fit on a node."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.data import load_dataset
from autosparse.runner.driver import session
from autosparse.runner.driver.session import jobs_on
from autosparse.runner.jobs.arrays import from_arrays, to_arrays
from autosparse.runner.jobs.loaders import Node, loaders_per_job, most_loaders, with_loaders
from autosparse.runner.settings import Settings

VARIABLE = "AUTOSPARSE_LOADER_WORKERS"


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def streamed(tmp_path):
    """The name of a data set of image files."""
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            (tmp_path / "pictures" / split / label).mkdir(parents=True)
            for number in range(2):
                pixels = np.full((8, 8, 3), 90 * number, np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pictures" / split / label / f"{number}.png")
    return f"imagefolder:{tmp_path / 'pictures'}"


@pytest.mark.parametrize(
    ("share", "workers", "nodes", "expected"),
    [
        (0.25, None, [Node(16, 1)], 3),  # 4 jobs of 4 CPUs
        (0.25, None, [Node(8, 1), Node(64, 1)], 1),  # what fits on the smaller node
        (0.25, 1, [Node(16, 1)], 8),  # one job at a time
        (0.25, None, [Node(4, 1)], 0),
        (0.25, None, [Node(2, 1)], 0),  # a job still fits
        (1, None, [Node(64, 8)], 7),
        (1, None, [Node(64, 1)], 8),  # no more than 8
        (2, None, [Node(16, 4), Node(96, 1)], 7),  # the second has too few GPUs for a job
        (0.5, None, [Node(0, 0), Node(2, 0), Node(12, 1)], 5),  # a head, and a node without a GPU
        (0.5, None, [], 1),  # nodes are yet to come
        (0, None, [Node(16, 0)], 0),  # on a CPU, the job's own core decodes
    ],
)
def test_a_job_has_as_many_loaders_as_its_share_of_the_smallest_node(share, workers, nodes, expected):
    assert loaders_per_job(None, Settings(gpus_per_job=share, workers=workers), nodes) == expected


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.5, 1, 2, 4])
@pytest.mark.parametrize("workers", [None, 1, 3])
@pytest.mark.parametrize("asked", [None, 0, 3, 64])
def test_whatever_the_nodes_a_job_fits_on_each_and_by_default_all_that_share_its_gpus_do(share, workers, asked):
    settings = Settings(gpus_per_job=share, workers=workers)
    for cpus in (1, 2, 3, 4, 7, 8, 16, 96):
        for gpus in (1, 2, 4, 8):
            jobs = jobs_on(gpus, share)
            if jobs:
                each = 1 + loaders_per_job(asked, settings, [Node(cpus, gpus), Node(128, 8)])
                assert 1 <= each <= cpus
                if asked is None and cpus >= jobs:
                    assert each * min(jobs, workers or jobs) <= cpus


@pytest.mark.parametrize(
    ("share", "asked", "nodes", "expected"),
    [
        (0.25, 6, [Node(16, 1)], 6),  # so that two jobs run at a time
        (0.25, 20, [Node(16, 1)], 15),  # as many as there are
        (0.25, 0, [Node(16, 1)], 0),
        (0, 2, [Node(4, 0)], 2),
        (0, 2, [Node(2, 0)], 1),
        (1, 6, [], 6),
    ],
)
def test_the_user_may_ask_for_another_number(share, asked, nodes, expected, monkeypatch):
    assert loaders_per_job(asked, Settings(gpus_per_job=share), nodes) == expected
    monkeypatch.setenv(VARIABLE, str(asked))
    assert most_loaders(share) == asked


def test_the_splits_start_what_was_asked_of_ray(streamed, monkeypatch):
    settings, nodes = Settings(gpus_per_job=0.25), lambda _: [Node(16, 1)]
    data = {name: to_arrays(load_dataset(name)) for name in (streamed, "digits")}
    given, cpus = with_loaders(data, settings, nodes)
    there = from_arrays(given[streamed])
    assert (there.train.workers, there.test.workers, cpus) == (3, 3, 4)
    assert there.fingerprint == load_dataset(streamed).fingerprint
    assert torch.equal(there.train.mean, load_dataset(streamed).train.mean)
    monkeypatch.setenv(VARIABLE, "20")
    given, cpus = with_loaders({streamed: to_arrays(load_dataset(streamed))}, settings, nodes)
    assert (from_arrays(given[streamed]).train.workers, cpus) == (15, 16)


def test_for_data_in_memory_nothing_changes(monkeypatch):
    monkeypatch.setenv(VARIABLE, "8")
    data = {"digits": to_arrays(load_dataset("digits"))}
    given, cpus = with_loaders(data, Settings(gpus_per_job=0.25), lambda _: 1 / 0)
    assert cpus == 1
    assert given["digits"] is data["digits"]


@pytest.mark.parametrize(
    ("workers", "cpus", "expected"), [(None, 4, None), (2, 1, 2), (2, 4, 6), (1, 4, 4), (8, 1, 8), (8, 4, 8)]
)
def test_a_local_ray_has_the_cpus_of_loaders_as_well(monkeypatch, workers, cpus, expected):
    monkeypatch.setattr(session.os, "sched_getaffinity", lambda _: range(6))
    assert session._local_cpus(workers, cpus) == expected


@pytest.mark.parametrize(("share", "variable", "cpus"), [(0, "", 1), (0.25, "", 9), (0, "2", 3), (1, "0", 1)])
def test_a_dry_run_says_what_a_job_asks_for(streamed, tmp_path, monkeypatch, share, variable, cpus):
    monkeypatch.setenv(VARIABLE, variable)
    monkeypatch.chdir(tmp_path)
    cells = "methods: [magnitude], sparsities: [0.5], seeds: [0]"
    (tmp_path / "a.yaml").write_text(f"name: a\ngrid: {{models: [resnet18], datasets: ['{streamed}'], {cells}}}\n")
    words = ["run", "a.yaml", "--dry-run", "--gpus-per-job", str(share)]
    answer = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(answer.stdout)["cpus_per_job"] == cpus, answer.output
    told = CliRunner().invoke(app, words).stderr
    assert (f"a job asks Ray for up to {cpus} CPUs" in told) == (cpus > 1)
    in_memory = CliRunner().invoke(app, [*words, "--json", "--set", "grid.*.datasets=[digits]"])
    assert json.loads(in_memory.stdout)["cpus_per_job"] == 1, in_memory.output
