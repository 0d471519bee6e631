"""Points of accuracy against cost: means over seeds, who competes with whom, and what is not known."""

import pytest
from builders import run_of_cell

from autosparse.errors import AutosparseError
from autosparse.results import frontier as module
from autosparse.results.frontier import frontier
from autosparse.results.runs import Run


def timed(method, accuracy, seconds, seed=0, sparsity=0.9, data="", **more):
    """The run of a cell that took so many seconds, or, if None, of one from before seconds were recorded."""
    tags = {"dataset_fingerprint": data} if data else {}
    cost = {} if seconds is None else {"seconds": seconds}
    return run_of_cell(method, sparsity, seed, accuracy, tags=tags, **cost, **more)


@pytest.fixture
def runs(monkeypatch):
    found = {"cell": [], "irp": [], "scorer": [], "sweep": []}
    monkeypatch.setattr(module, "finished_cells", lambda client, experiment: found["cell"])
    monkeypatch.setattr(module, "finished_runs", lambda client, experiment, kind: found[kind])
    return found


def marks(points, name="pareto"):
    return {(point.method, point.sparsity) for point in points if getattr(point, name)}


def test_a_point_is_the_mean_over_seeds_with_its_interval(runs):
    runs["cell"] += [timed("snip", 90.0, 2.0, 0), timed("snip", 92.0, 4.0, 1)]
    (point,) = frontier(None, "x")
    assert (point.n, point.accuracy, point.cost, point.once, point.together) == (2, 91.0, 3.0, 0.0, 3.0)
    assert point.half_width == pytest.approx(12.706, abs=1e-3)
    assert point.row["together"] == 3.0


def test_the_cheapest_come_first_and_those_of_unknown_cost_last(runs):
    runs["cell"] += [timed("old", 99.0, None), timed("b", 90.0, 3.0), timed("a", 80.0, 1.0)]
    points = frontier(None, "x")
    assert [point.method for point in points] == ["a", "b", "old"]
    assert points[2].cost is None
    assert "seconds" in points[2].unknown
    assert marks(points) == {("a", 0.9), ("b", 0.9)}


def test_a_sparsity_has_a_set_of_its_own(runs):
    runs["cell"] += [
        timed("snip", 95.0, 1.0),
        timed("snip", 80.0, 1.0, sparsity=0.98),
        timed("lth", 94.0, 9.0),
        timed("lth", 90.0, 9.0, sparsity=0.98),
    ]
    points = frontier(None, "x")
    assert marks(points) == {("snip", 0.9)}
    assert marks(points, "pareto_at_sparsity") == {("snip", 0.9), ("snip", 0.98), ("lth", 0.98)}
    assert marks(frontier(None, "x", sparsity=0.98)) == {("snip", 0.98), ("lth", 0.98)}


def test_the_dense_network_is_a_point_that_does_not_compete(runs):
    runs["cell"] += [timed("dense", 99.0, 1.0, sparsity=0.0), timed("snip", 90.0, 2.0)]
    points = frontier(None, "x")
    assert [point.dense for point in points] == [True, False]
    assert marks(points) == marks(points, "pareto_at_sparsity") == {("snip", 0.9)}


def test_what_is_spent_once_counts_in_the_second_set_alone(runs):
    runs["cell"] += [timed("snip", 90.0, 2.0), timed("autos", 90.0, 1.0, scorer="s1")]
    runs["irp"] += [Run("i", "irp", {"task_id": "i1", "kind": "irp"}, {}, {"seconds": 50.0})]
    runs["scorer"] += [Run("s", "fit", {"task_id": "s1", "kind": "scorer"}, {"irp": '["i1"]'}, {"seconds": 5.0})]
    points = frontier(None, "x")
    assert marks(points) == {("autos", 0.9)}
    assert marks(points, "pareto_together") == {("snip", 0.9)}
    assert [(point.cost, point.once, point.together) for point in points] == [(1, 55, 56), (2, 0, 2)]


def test_a_scorer_that_is_gone_leaves_its_method_out_of_the_second_set_alone(runs):
    runs["cell"] += [timed("snip", 90.0, 2.0), timed("autos", 90.0, 1.0, scorer="s1")]
    points = frontier(None, "x")
    assert marks(points) == {("autos", 0.9)}
    assert marks(points, "pareto_together") == {("snip", 0.9)}
    assert points[0].together is None
    assert "scorer s1" in points[0].unknown


def test_a_longer_training_competes_by_its_cost_and_other_data_do_not(runs):
    runs["cell"] += [timed("snip", 90.0, 2.0, data="aa"), timed("snip", 89.0, 4.0, epochs=20, data="aa")]
    points = frontier(None, "x")
    assert [(point.settings, point.pareto) for point in points] == [
        ("recipe.epochs=10", True),
        ("recipe.epochs=20", False),
    ]
    runs["cell"] += [timed("snip", 80.0, 9.0, data="bb")]
    assert [point.pareto for point in frontier(None, "x")] == [True, False, True]


def test_wrong_requests_are_refused_in_one_line(runs):
    with pytest.raises(AutosparseError, match="no finished cells of experiment 'x'"):
        frontier(None, "x")
    runs["cell"] += [timed("snip", 90.0, None)]
    with pytest.raises(AutosparseError, match="the seconds of experiment 'x' are not known"):
        frontier(None, "x")
    with pytest.raises(AutosparseError, match="unknown cost 'second': did you mean 'seconds'"):
        frontier(None, "x", "second")
    with pytest.raises(AutosparseError, match="a metric of which more is better, and 'train_loss' is not one"):
        frontier(None, "x", metric="train_loss")
    with pytest.raises(AutosparseError, match="unknown metric"):
        frontier(None, "x", metric="tset_accuracy")
    with pytest.raises(AutosparseError, match=r"at sparsity 0\.5"):
        frontier(None, "x", sparsity=0.5)
