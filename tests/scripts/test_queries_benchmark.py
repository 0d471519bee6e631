"""The benchmark of queries: the cells that it copies are asked for like those that a run has written."""

import pytest

from autosparse.results.best import best
from autosparse.results.runs import finished_runs


@pytest.fixture
def queries(benchmark_module):
    return benchmark_module("queries")


def test_copied_cells_are_whole_and_differ_in_seed_and_accuracy(queries, tmp_path):
    grid = {**queries.GRID, "methods": ["random", "snip"], "sparsities": [0.9], "recipe": {"epochs": 1}}
    client = queries.fill(tmp_path, grid, seeds=3)
    runs = finished_runs(client, queries.LARGE, "cell")
    assert sorted((run.tags["method"], run.tags["seed"], run.params["seed"]) for run in runs) == [
        (method, seed, seed) for method in ("random", "snip") for seed in "012"
    ]
    assert len({run.tags["task_id"] for run in runs}) == 6
    assert len({run.metrics["test_accuracy"] for run in runs}) == 6
    assert [len(run.metrics) for run in runs] == [len(runs[0].metrics)] * 6
    rows = best(client, queries.LARGE)
    assert {(row["method"], row["n"]) for row in rows} == {("random", 3), ("snip", 3)}
    assert len(finished_runs(client, queries.SMALL, "cell")) == 2
