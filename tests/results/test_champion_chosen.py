"""Which scorer is promoted: the one that wins where several were measured; of one label, only the newest competes."""

import pytest
from builders import run_of_cell, write_run

from autosparse.errors import AutosparseError
from autosparse.results.best import best_trials
from autosparse.results.fitted_on import fitted_on
from autosparse.results.groups import groups_of
from autosparse.results.model_registry import _best
from autosparse.results.runs import Run, by_label
from autosparse.tracking.client import open_experiment
from autosparse.tracking.parent import ParentRun

NAMES = {"1": "one", "2": "two", "3": "three", "4": "four"}


def best(measured, metric="test_accuracy", names=NAMES):
    """The best scorer by accuracies at (scorer, sparsity)."""
    cells = [
        run_of_cell(f"by {scorer}", sparsity, seed, value + seed, scorer=scorer)
        for (scorer, sparsity), value in measured.items()
        for seed in range(2)
    ]
    return _best(groups_of(cells), "exp", None, metric, names)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({("1", 0.9): 80, ("2", 0.9): 81}, "two"),
        ({("1", 0.9): 80, ("2", 0.9): 81, ("1", 0.95): 99, ("1", 0.99): 99}, "two"),
        ({("1", 0.9): 80, ("1", 0.99): 70}, "one"),
        ({("1", 0.9): 90, ("2", 0.9): 89, ("1", 0.99): 40, ("2", 0.99): 50}, "two"),
        ({("1", 0.9): 90, ("2", 0.9): 80, ("1", 0.99): 45, ("2", 0.99): 50}, "one"),
        ({("1", 0.9): 90, ("2", 0.9): 90, ("1", 0.99): 45, ("2", 0.99): 46}, "two"),
        ({("1", 0.9): 90, ("2", 0.9): 91, ("old", 0.9): 99}, "two"),
    ],
    ids=[
        "wins",
        "alone elsewhere",
        "the only one",
        "mean of both places",
        "the other",
        "ties win both",
        "before an edit",
    ],
)
def test_the_scorer_that_wins_where_several_were_measured(measured, expected):
    assert best(measured) == expected


def test_a_place_counts_once_however_often_the_recipe_was_edited():
    cells = [
        run_of_cell(f"by {scorer}", sparsity, 0, accuracy, epochs=epochs, scorer=scorer)
        for epochs in (5, 10, 20)
        for scorer, sparsity, accuracy in (("1", 0.9, 80.0), ("2", 0.9, 70.0))
    ]
    for sparsity in (0.95, 0.99):
        cells += [run_of_cell(f"by {s}", sparsity, 0, a, scorer=s) for s, a in (("1", 50.0), ("2", 60.0))]
    assert _best(groups_of(cells), "exp", None, "test_accuracy", NAMES) == "two"


def test_less_is_better_for_a_loss():
    cells = [run_of_cell("by 1", 0.9, 0, 0.0, scorer="1"), run_of_cell("by 2", 0.9, 0, 0.0, scorer="2")]
    for cell, loss in zip(cells, (0.5, 0.2), strict=True):
        cell.metrics["train_loss"] = loss
    assert _best(groups_of(cells), "exp", None, "train_loss", NAMES) == "two"


def test_the_better_of_two_ways_to_use_a_scorer_counts():
    cells = [
        run_of_cell("by 1", 0.9, 0, 70.0, scorer="1"),
        run_of_cell("by 1, exact", 0.9, 0, 80.0, scorer="1"),
        run_of_cell("by 2", 0.9, 0, 75.0, scorer="2"),
    ]
    assert _best(groups_of(cells), "exp", None, "test_accuracy", NAMES) == "one"
    assert _best(groups_of(cells[:2]), "exp", None, "test_accuracy", NAMES) == "one"


@pytest.mark.parametrize(
    "measured",
    [
        {("1", 0.9): 80, ("2", 0.99): 81},
        {("1", 0.9): 80, ("3", 0.9): 70, ("2", 0.95): 81, ("4", 0.95): 70},
    ],
)
def test_scorers_that_were_never_measured_at_the_same_place_are_not_ranked(measured):
    with pytest.raises(AutosparseError, match="nothing tells which scorer of 'exp' is the best: one, two were not mea"):
        best(measured)


def test_without_a_cell_of_a_scorer_there_is_none():
    with pytest.raises(AutosparseError, match="was pruned by one of its scorers; choose one with --scorer"):
        best({("old", 0.9): 80})


def test_of_several_runs_with_a_label_the_one_that_was_done_last_counts():
    def run(name, start, seconds):
        tags = {"label": "search", "task_id": name}
        return Run(name, name, tags, {}, {"seconds": seconds} if seconds else {}, start, 99_999)

    edited, first = run("edited", 2000, 50.0), run("first", 10_000, 1.0)
    for runs in ([edited, first], [first, edited]):
        assert by_label(runs, {}) == by_label(runs, {"search": "not done"}) == {"search": edited}
        assert by_label(runs, {"search": "first"}) == {"search": first}
    assert by_label([run("old", 2000, None), first], {}) == {"search": first}


def test_the_trials_of_a_sweep_are_those_after_its_last_edit(client):
    """The first search ran alone for 10 s; the edited one had four trials side by side, 10 s each."""
    experiment = open_experiment(client, "exp")
    for name, ended, seconds in (("first", 20_000, 10.0), ("edited", 40_000, 40.0)):
        tags = {"kind": "sweep", "task_id": name, "label": "rate", "searched": "lr", "metric": "held_out_r2"}
        start = {"start_time": ended - int(1000 * seconds)}
        write_run(client, experiment, end=50_000, metrics={"seconds": seconds}, tags=tags, **start)
        trial = {"kind": "trial", "sweep_id": name, "trial_id": name, "trial_status": "done", "scorer_id": name}
        write_run(client, experiment, params={"lr": "0.1"}, metrics={"value": 0.5}, tags=trial)
    assert [row["scorer_id"] for row in best_trials(client, "exp", "rate")] == ["edited"]
    ParentRun(client, experiment, "exp").describe({"named": {"sweep": {"rate": "first"}}}, "FINISHED")
    assert [row["scorer_id"] for row in best_trials(client, "exp", "rate")] == ["first"]  # the edit was taken back


def test_a_scorer_of_a_sweep_was_fitted_on_what_the_sweep_was():
    def run(task_id, **params):
        return Run(task_id, "", {"task_id": task_id}, params, {})

    sweeps = [run("other", irp='["x"]'), run("search", irp='["a", "b"]')]
    assert fitted_on(run("own", irp='["c"]'), sweeps) == ["c"]
    assert fitted_on(run("won", irp="[]", sweep="search"), sweeps) == ["a", "b"]
    assert fitted_on(run("won", irp="[]", sweep="gone"), sweeps) == fitted_on(run("old"), sweeps) == []
