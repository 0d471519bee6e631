"""The best cells of an experiment: rows whose networks were trained in different ways are told apart."""

import pytest
from builders import run_of_cell

from autosparse.report.collect import make_sections
from autosparse.report.tables import accuracy_table
from autosparse.results import best
from autosparse.results.groups import groups_of
from autosparse.results.leaderboard import leaderboard, ranked

RUNS = [
    *(run_of_cell("snip", 0.9, seed, 80.0 + seed, epochs=5) for seed in range(2)),
    *(run_of_cell("grasp", 0.9, seed, 85.0 + seed, epochs=50) for seed in range(2)),
    *(run_of_cell("snip", 0.95, seed, 90.0 + seed, epochs=50) for seed in range(2)),
]
SHORT, LONG = "recipe.epochs=5", "recipe.epochs=50"


def rows_of(runs, **how):
    return [found.row for found in best.rows_of(groups_of(runs), "x", **how)]


def settings(runs, **how):
    return {(row.get("method"), row.get("sparsity")): row["settings"] for row in rows_of(runs, **how)}


def test_a_training_is_told_though_no_two_rows_of_a_method_differ_in_it():
    assert settings(RUNS) == {("snip", 0.9): SHORT, ("grasp", 0.9): LONG, ("snip", 0.95): LONG}


def test_a_training_that_all_rows_shown_share_is_not_told():
    assert set(settings(RUNS[2:]).values()) == {""}
    assert settings(RUNS, sparsity=0.95) == {("snip", 0.95): ""}


def test_what_is_averaged_was_trained_in_one_way():
    rows = rows_of(RUNS, group_by=["sparsity"])
    assert [(row["sparsity"], row["settings"], row["mean"]) for row in rows] == [
        (0.95, LONG, 90.5),
        (0.9, LONG, 85.5),
        (0.9, SHORT, 80.5),
    ]


def test_networks_of_different_models_need_not_be_trained_alike():
    other = [run_of_cell("snip", 0.9, seed, 70.0, epochs=7, tags={"model": "other"}) for seed in range(2)]
    found = settings(RUNS[4:] + other, group_by=["method", "sparsity", "model", "dataset"])
    assert set(found.values()) == {""}


def test_a_methods_settings_come_before_its_trainings():
    edited = run_of_cell("autos", 0.9, 0, 81.0, epochs=5, scorer="new")
    older = run_of_cell("autos", 0.9, 1, 80.0, epochs=50, scorer="old")
    found = {row["settings"] for row in rows_of([edited, older])}
    assert found == {f"scorer=new, {SHORT}", f"scorer=old, {LONG}"}


@pytest.mark.parametrize("runs", [RUNS, RUNS[::-1]])
def test_in_the_leaderboard_only_what_was_trained_alike_competes(runs):
    found = best.rows_of(groups_of(runs), "x", group_by=best.GROUPS)
    assert leaderboard(ranked(found), "exp").splitlines()[-3:] == [
        "| snip (recipe.epochs=50) |  | **90.50 ± 0.71** (2) |",
        "| grasp (recipe.epochs=50) | **85.50 ± 0.71** (2) |  |",
        "| snip (recipe.epochs=5) | **80.50 ± 0.71** (2) |  |",
    ]


def test_in_a_grid_that_is_half_done_the_bold_method_is_the_one_that_wins():
    runs = [run_of_cell("snip", 0.9, seed, 60.0 + 10 * seed) for seed in range(3)]
    runs += [run_of_cell("grasp", 0.9, seed, 59.0 + 10 * seed) for seed in (1, 2)]  # worse, but without the hard seed
    runs += [run_of_cell("force", 0.9, 9, 10.0)]
    found = best.rows_of(groups_of(runs), "x", group_by=best.GROUPS)
    assert leaderboard(ranked(found), "exp").splitlines()[-3:] == [
        "| snip | **70.00 ± 10.00** (3) |",
        "| grasp | 74.00 ± 7.07 (2) |",
        "| force | 10.00 (1) |",
    ]
    (section,) = make_sections(runs)
    assert [method.name for method in section.methods] == ["snip", "grasp", "force"]
    assert [method.name for method in section.best(0.9)] == ["snip"]
    rows = {row.name: row.cells[0].mark for row in accuracy_table(section).rows}
    assert rows == {"snip": "best", "grasp": "", "force": ""}
    assert section.best(0.5) == []


def test_a_label_that_is_another_method_at_another_sparsity_is_two_in_the_leaderboard():
    runs = [run_of_cell("autos", 0.9, 0, 80.0, scorer="old"), run_of_cell("autos", 0.95, 0, 70.0, scorer="new")]
    assert settings(runs) == {("autos", 0.9): "scorer=old", ("autos", 0.95): "scorer=new"}
    assert settings(runs, sparsity=0.9) == {("autos", 0.9): ""}
    found = best.rows_of(groups_of(runs), "x", group_by=best.GROUPS)
    assert leaderboard(ranked(found), "exp").splitlines()[-2:] == [
        "| autos (scorer=new) |  | **70.00** (1) |",
        "| autos (scorer=old) | **80.00** (1) |  |",
    ]
    (section,) = make_sections(runs)
    assert {method.name for method in section.methods} == {"autos (scorer=new)", "autos (scorer=old)"}
