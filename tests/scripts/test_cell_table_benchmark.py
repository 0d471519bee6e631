"""The benchmark of the table: its made-up cells are asked for together with the real ones that MLflow has."""

import pytest

from autosparse.results.best import best
from autosparse.results.cell_table import finished_cells


@pytest.fixture
def benchmark(benchmark_module):
    return benchmark_module("cell_table")


def test_made_up_cells_are_like_a_real_one_and_are_found_beside_it(benchmark, tmp_path):
    client = benchmark.fill(tmp_path, {**benchmark.GRID, "methods": ["random"]}, 1)
    assert benchmark.fill_table(client, 2) == 4000
    *made_up, real = finished_cells(client, benchmark.LARGE)
    assert (len(made_up), real.tags["method"]) == (4000, "random")
    assert all(run.tags.keys() == real.tags.keys() - set(benchmark.LEFT_OUT) for run in made_up)
    assert len({run.tags["task_id"] for run in made_up}) == 4000
    assert {len(run.metrics) for run in made_up} == {benchmark.METRICS}
    rows = best(client, benchmark.LARGE)
    assert sorted(row["n"] for row in rows) == [1, *[2] * 2000]
