"""The benchmark of whole runs: compact training changes neither which weights survive nor the accuracies."""

import pytest

import autosparse as asp

GRID = """
name: tiny
grid:
  models: [lenet-300-100]
  datasets: [digits]
  methods: [magnitude, snip]
  sparsities: [0.9, 0.99]
  seeds: [0, 1]
  recipe: {epochs: 2, batch_size: 128}
"""


@pytest.fixture
def benchmark(benchmark_module):
    return benchmark_module("compact_runs")


def test_an_irp_run_keeps_the_same_weights_both_ways(benchmark):
    result = benchmark.pruned_in_rounds(asp.load_dataset("digits"), repetitions=1, iterations=3)
    assert result.notes["correlation of the survival scores"] > 0.95
    assert min(result.rates + result.baseline_rates) > 0


@pytest.mark.slow
def test_a_grid_has_the_same_accuracies_both_ways(benchmark, tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(GRID)
    result = benchmark.grid(file, str(tmp_path), seeds=1)
    assert "4 tasks" in result.name
    assert result.notes["accuracy apart, median"] < 1
