"""Cells as a DataFrame: one row each, with what they are and all that was measured."""

from dataclasses import replace

import pytest
from builders import run_of_cell

from autosparse.results import frame as module
from autosparse.results.frame import frame


@pytest.fixture
def cells(monkeypatch):
    found = []
    monkeypatch.setattr(module, "finished_cells", lambda client, experiment: found)
    return found


def test_a_row_for_each_cell_in_order_with_its_metrics(cells):
    cells += [
        run_of_cell("snip", 0.9, 1, 91.0, seconds=1.0),
        run_of_cell("snip", 0.9, 0, 90.0, seconds=3.0),
        run_of_cell("grasp", 0.95, 0, 80.0),
    ]
    table = frame(None, "x")
    assert table[["method", "sparsity", "seed", "test_accuracy"]].values.tolist() == [
        ["grasp", 0.95, 0, 80.0],
        ["snip", 0.9, 0, 90.0],
        ["snip", 0.9, 1, 91.0],
    ]
    assert table.run_id.tolist() == ["grasp-0.95-0-10", "snip-0.9-0-10", "snip-0.9-1-10"]
    assert table.groupby("method").seconds.mean()["snip"] == 2.0


def test_what_was_trained_otherwise_is_told_apart(cells):
    cells += [run_of_cell("snip", 0.9, 0, 90.0), run_of_cell("snip", 0.9, 0, 95.0, epochs=20)]
    assert frame(None, "x").training.tolist() == ["recipe.epochs=10", "recipe.epochs=20"]


def test_an_experiment_without_cells_has_an_empty_table(cells):
    assert frame(None, "x").empty


def test_the_sparsity_and_the_seed_of_a_cell_are_those_that_were_asked_for(cells):
    run = run_of_cell("snip-structured", 0.9, 3, 80.0)
    cells.append(replace(run, metrics={**run.metrics, "sparsity": 0.8765, "seed": 3.0, "kept": 12.0}))
    table = frame(None, "x")
    assert table[["sparsity", "seed", "kept"]].values.tolist() == [[0.9, 3, 12.0]]
    assert table.seed.dtype == "int64"
