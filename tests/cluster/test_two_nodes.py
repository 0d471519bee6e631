"""A grid and a scoring pass on a real cluster of two nodes: both work, and what comes out is that of one process."""

import contextlib
import json
import os
import signal
import warnings

import pyarrow.parquet as pq
import pytest
from commands import GRID, IRP, RECIPE, Work, command_of, ended, start, wait_for, workers_of
from local_mlflow import MlflowServer
from local_postgres import Postgres, why_no_postgres

import autosparse as asp
from autosparse.autos import load_scorer
from autosparse.data import load_dataset
from autosparse.irp import load_survival, rewind_prune
from autosparse.seeds import generator
from autosparse.shards import save_features

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # test_chaos.py has two nodes, too

BOTH = """
import os, time
from pathlib import Path

if "raylet/raylet" in Path(f"/proc/{os.getppid()}/cmdline").read_text():
    begun = Path(__file__).with_name("begun")
    begun.mkdir(exist_ok=True)
    (begun / str(os.getppid())).touch()
    deadline = time.monotonic() + 300
    while len(list(begun.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
"""
"""A plugin that no worker has imported before both nodes have a worker with a job: else, one node may do them all."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An MLflow server on Postgres; on SQLite, with a warning, if there is no Postgres."""
    with contextlib.ExitStack() as stack:
        backend = None
        if reason := why_no_postgres():
            warnings.warn(f"the MLflow server is on SQLite: {reason}", stacklevel=1)
        else:
            backend = stack.enter_context(Postgres()).uri
        yield stack.enter_context(MlflowServer(tmp_path_factory.mktemp("server"), backend))


@pytest.fixture(scope="module")
def work(two_nodes, server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "both_module.py").write_text(BOTH)
    grid = {**GRID, "methods": ["dense", "snip", "random"]}
    work = Work(folder, {"name": "two-nodes", "plugins": ["both_module"], "grid": grid}, server.uri)
    work.told = work.run(cluster=two_nodes)
    return work


def test_a_grid_is_done_by_both_nodes_each_task_once(work, two_nodes):
    assert (work.told["done"], work.told["failed"]) == (12, [])
    work.assert_each_once()
    nodes = {work.store.record(planned.task)["environment"]["node"] for planned in work.plan.cells}
    assert nodes == {node.id for node in two_nodes.nodes}


def test_its_results_are_those_of_a_single_process(work):
    work.assert_cells_as_alone([0, 4, 8])


@pytest.fixture(scope="module")
def pipeline(two_nodes, server, tmp_path_factory):
    methods = ["snip", {"criterion": "autos", "scorer": "mine"}]
    scorers = {"mine": {"irp": "snip", "epochs": 2}}
    content = {"name": "pipeline", "irp": IRP, "scorers": scorers, "grid": {**GRID, "methods": methods}}
    work = Work(tmp_path_factory.mktemp("work"), content, server.uri)
    work.told = work.run(cluster=two_nodes)
    return work


def test_all_stages_give_what_a_single_process_gives(pipeline):
    assert (pipeline.told["done"], pipeline.told["failed"]) == (10, [])
    pipeline.assert_each_once()
    pipeline.assert_cells_as_alone([0, 4])
    irp = pipeline.plan.irp[0].task
    digits = load_dataset("digits")
    model = asp.build_model("lenet-300-100", 10, digits.input_shape, irp.seed)
    here = rewind_prune(model, digits, iterations=3, recipe=asp.Recipe(**RECIPE), seed=irp.seed)
    there = load_survival(pipeline.store.files_path("irp", irp.id) / "survival")
    assert all((there.survived[name] == here.survived[name]).all() for name in here.survived)


def hold_until_both_score(cluster):
    """Stop the node that scores first until the other scores, too: else, one may do all shards."""
    held = {node.id: [] for node in cluster.nodes}

    def hold():
        for node in cluster.nodes:
            found = [pid for pid in workers_of(node.raylet) if "do_row" in command_of(pid)]
            for pid in set(found).difference(held[node.id]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    held[node.id].append(pid)
        return all(held.values())

    try:
        wait_for(hold)
    finally:
        for pid in (pid for stopped in held.values() for pid in stopped):
            os.kill(pid, signal.SIGCONT)


def test_shards_are_scored_by_both_nodes_and_the_masks_are_those_of_the_network_in_memory(
    pipeline, two_nodes, tmp_path
):
    digits = load_dataset("digits")
    model = asp.build_model("lenet-300-100", 10, digits.input_shape, 7)
    batches = list(digits.scoring_batches(generator(7, "score"), limit=256))
    features = save_features(model, batches, tmp_path / "features", shard_rows=2000)
    scorer = pipeline.store.files_path("scorer", pipeline.plan.scorers[0].task.id)
    arguments = ("score", "--scorer", scorer, "--features", features, "--out", tmp_path / "out", "--sparsity", 0.9)
    process = start(*arguments, "--json", cluster=two_nodes)
    hold_until_both_score(two_nodes)
    code, out, err = ended(process)
    assert code == 0, err
    expected = asp.prune(model, "autos", 0.9, batches, scorer=load_scorer(scorer))
    assert asp.Masks.load(tmp_path / "out" / "masks.safetensors") == expected
    assert json.loads(out)["kept"] == expected.kept
    described = [pq.read_metadata(path).metadata for path in (tmp_path / "out").glob("scores-*.parquet")]
    nodes = {json.loads(written[b"autosparse.scores"])["node"] for written in described}
    assert nodes == {node.id for node in two_nodes.nodes}
