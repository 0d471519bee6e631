"""A question about a sparsity that no cell has is answered with those that there are."""

import pytest
from builders import run_of_cell

from autosparse.errors import AutosparseError
from autosparse.results import best, frontier, winners


@pytest.fixture
def cells(monkeypatch):
    """The finished cells of every experiment; the last is of a learned scorer."""
    cells = [run_of_cell(sparsity=own) for own in (0.95, 0.9, 0.9)] + [run_of_cell(sparsity=0.98, scorer="s")]
    for module in (best, winners, frontier):
        monkeypatch.setattr(module, "finished_cells", lambda client, experiment: cells)
    return cells


@pytest.mark.parametrize(
    ("ask", "there"),
    [
        (lambda sparsity: best.best(None, "x", sparsity=sparsity), "0.9, 0.95, 0.98"),
        (lambda sparsity: winners.winners(None, "x", sparsity=sparsity), "0.9, 0.95, 0.98"),
        (lambda sparsity: winners.winners(None, "x", sparsity=sparsity, scorers_only=True), "0.98"),
        (lambda sparsity: frontier.frontier(None, "x", sparsity=sparsity), "0.9, 0.95, 0.98"),
    ],
    ids=["best", "winners", "scorers", "frontier"],
)
def test_the_sparsities_that_there_are_are_named(cells, ask, there):
    with pytest.raises(AutosparseError, match=rf"of experiment 'x' at sparsity 0.5: there are {there}$"):
        ask(0.5)


def test_without_any_cell_the_command_that_makes_some_is_named(cells):
    cells.clear()
    with pytest.raises(AutosparseError, match="run it with `autosparse run`"):
        best.best(None, "x", sparsity=0.5)
