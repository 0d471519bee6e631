"""Winners and comparisons: means, intervals and leads, against SciPy's tests."""

from dataclasses import replace
from statistics import fmean

import pytest
from builders import run_of_cell
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autosparse.errors import AutosparseError
from autosparse.results import winners as module
from autosparse.results.adjusted import adjusted_means
from autosparse.results.significance import half_width, holm, paired
from autosparse.results.winners import compare, winners

VALUES = st.floats(0, 100).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=8))
def test_a_paired_difference_is_scipys(pairs):
    a, b = (dict(enumerate(values)) for values in zip(*pairs, strict=True))
    found = paired({**a, 100: 1.0}, {**b, 200: 1.0})
    assert found.pairs == len(pairs)
    differences = [x - y for x, y in pairs]
    if max(differences) - min(differences) < 1e-9:
        assert (found.p, found.half_width) == ((None, None) if any(differences) else (1.0, 0.0))
        return
    expected = stats.ttest_rel(*zip(*pairs, strict=True))
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-6)
    assert found.half_width == pytest.approx((interval.high - interval.low) / 2, rel=1e-6)
    assert found.significant == (found.p < 0.05)


def test_the_same_difference_with_each_seed_is_no_certainty():
    one_image = 100 / 360
    found = paired({0: 90.0, 1: 91.0}, {0: 90.0 - one_image, 1: 91.0 - one_image})
    assert found.difference == pytest.approx(one_image)
    assert (found.half_width, found.p, found.significant) == (None, None, False)


def test_one_seed_has_no_interval_and_nothing_in_common_no_difference():
    assert half_width([1.0]) is None
    assert half_width([1.0, 1.0, 1.0]) is None
    one = paired({0: 3.0}, {0: 1.0, 1: 5.0})
    assert (one.pairs, one.difference, one.half_width, one.p, one.significant) == (1, 2.0, None, None, False)
    assert paired({0: 3.0}, {1: 1.0}) is None


def test_holms_correction_is_that_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_a_correction_keeps_the_order_and_makes_nothing_surer(p):
    corrected = holm(p)
    assert all(before <= after <= 1 for before, after in zip(p, corrected, strict=True))
    order = sorted(range(len(p)), key=lambda i: p[i])
    assert [corrected[i] for i in order] == sorted(corrected)
    assert corrected[order[0]] == min(1, len(p) * p[order[0]])


RUNS = {
    "x": [
        *(run_of_cell("snip", 0.9, seed, 90.0 + seed, seconds=5.0) for seed in range(3)),
        *(run_of_cell("grasp", 0.9, seed, 89.0 + seed + 0.1 * (seed == 1), seconds=1.0) for seed in range(3)),
        *(
            run_of_cell("autos", 0.9, seed, 80.0 + seed + 0.1 * (seed == 2), scorer="a", seconds=3.0)
            for seed in range(3)
        ),
        *(run_of_cell("autos-b", 0.9, seed, 80.5 + (seed == 2), scorer="b") for seed in range(3)),
        run_of_cell("snip", 0.99, 0, 50.0),
    ],
    "y": [*(run_of_cell("snip", 0.9, seed, 91.0 + seed) for seed in range(1, 4)), run_of_cell("lth", 0.9, 0, 1.0)],
    "edited": [
        *(run_of_cell("snip", 0.9, seed, 60.0) for seed in range(2)),
        *(run_of_cell("grasp", 0.9, seed, 50.0) for seed in range(2)),
        *(run_of_cell("snip", 0.9, seed, 70.0, epochs=20) for seed in range(2)),
        *(run_of_cell("grasp", 0.9, seed, 75.0, epochs=20) for seed in range(2)),
    ],
    "longer": [run_of_cell("snip", 0.9, 0, 71.5, epochs=20), run_of_cell("snip", 0.99, 0, 1.0, epochs=30)],
    "refitted": [run_of_cell("autos", 0.9, 0, 80.0, scorer="old"), run_of_cell("autos", 0.9, 0, 82.0, scorer="new")],
}
SHORT, LONG = "recipe.epochs=10", "recipe.epochs=20"


@pytest.fixture(autouse=True)
def _runs(monkeypatch):
    monkeypatch.setattr(module, "finished_cells", lambda client, experiment: RUNS.get(experiment, []))


def test_the_best_of_each_place_and_its_lead():
    first, second = winners(None, "x")
    assert (first["sparsity"], first["best"], first["next"]) == (0.9, "snip", "grasp")
    assert (first["n"], first["mean"]) == (3, 91.0)
    assert first["half_width"] == pytest.approx(half_width([90, 91, 92]))
    assert first["lead"] == pytest.approx(1 - 0.1 / 3)
    assert first["significant"]
    snip, others = {0: 90.0, 1: 91.0, 2: 92.0}, [(89.0, 90.1, 91.0), (80.5, 80.5, 81.5), (80.0, 81.0, 82.1)]
    tests = [paired(snip, dict(enumerate(own))).p for own in others]
    assert first["p"] == pytest.approx(holm(tests)[0])
    assert first["p"] > tests[0]
    assert (second["best"], second["next"], second["lead"], second["significant"]) == ("snip", None, None, False)
    assert winners(None, "x", sparsity=0.99) == [second]


def unbalanced(monkeypatch, sign=1):
    """Runs of a method that is better on each seed that both have, and of one that has more seeds, which are easy."""
    better = [run_of_cell("better", 0.9, seed, sign * value) for seed, value in enumerate((85.0, 85.2, 84.9))]
    values = (80.0, 80.1, 79.9, *(7 * [95.0]))
    more = [run_of_cell("more", 0.9, seed, sign * value) for seed, value in enumerate(values)]
    monkeypatch.setitem(RUNS, "unbalanced", [*more, *better])


def test_easy_seeds_do_not_make_a_method_the_winner(monkeypatch):
    unbalanced(monkeypatch)
    (row,) = winners(None, "unbalanced")
    assert (row["best"], row["next"], row["pairs"], row["significant"]) == ("better", "more", 3, True)
    assert row["lead"] == pytest.approx(5.0333, abs=1e-3)


def test_a_lead_of_the_wrong_sign_is_not_significant(monkeypatch):
    unbalanced(monkeypatch)
    monkeypatch.setattr(module, "adjusted_means", lambda measured: [fmean(values.values()) for values in measured])
    (row,) = winners(None, "unbalanced")
    assert (row["best"], row["lead"] < 0, row["p"] < 0.05, row["significant"]) == ("more", True, True, False)


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=5),
    st.lists(st.floats(-10, 10), min_size=2, max_size=6),
    st.data(),
)
def test_adjusted_means_are_those_of_all_seeds_if_methods_and_seeds_add_up(methods, seeds, data):
    at = st.sets(st.integers(1, len(seeds) - 1))
    there = [{0} | data.draw(at) for _ in methods]  # a seed that all have connects them
    measured = [{seed: method + seeds[seed] for seed in has} for method, has in zip(methods, there, strict=True)]
    used = [seeds[seed] for seed in set().union(*there)]
    expected = [method + fmean(used) for method in methods]
    assert adjusted_means(measured) == pytest.approx(expected, abs=1e-6)


def test_means_of_methods_without_a_common_seed_are_plain():
    assert adjusted_means([{0: 1.0, 1: 3.0}, {2: 10.0}]) == [2.0, 10.0]


def test_a_method_with_seeds_of_its_own_leaves_the_means_of_the_others_adjusted():
    both = [{0: 50.0, 1: 60.0, 2: 70.0}, {2: 71.0}]
    alone = {7: 10.0}
    assert adjusted_means(both) == pytest.approx([60.0, 61.0])
    assert adjusted_means([both[0], alone, both[1]]) == pytest.approx([60.0, 10.0, 61.0])


def test_methods_are_connected_by_way_of_others():
    chain = [{0: 10.0, 1: 20.0}, {1: 21.0, 2: 31.0}, {2: 32.0}]  # each 1 better than the one before, seeds 10 apart
    assert adjusted_means(chain) == pytest.approx([20.0, 21.0, 22.0])


def test_scorers_alone_and_metrics_of_which_less_is_better():
    (row,) = winners(None, "x", scorers_only=True)
    assert (row["best"], row["next"], row["significant"]) == ("autos", "autos-b", False)
    assert winners(None, "x", "seconds")[0]["best"] == "grasp"


def test_experiments_are_compared_method_by_method_over_common_seeds():
    (row,) = compare(None, "x", "y")
    assert (row["method"], row["pairs"], row["difference"]) == ("snip", 2, -1.0)
    assert (row["a"], row["b"]) == (91.5, 92.5), "of seeds 1 and 2, which both have"


def test_methods_of_one_experiment_are_compared():
    (row,) = compare(None, "snip", "grasp", "x")
    assert (row["sparsity"], row["pairs"]) == (0.9, 3)
    assert row["difference"] == pytest.approx(1 - 0.1 / 3)


def test_p_values_are_corrected_for_the_number_of_rows(monkeypatch):
    values = {"snip": [90.0, 91.0, 92.1], "grasp": [70.0, 72.0, 71.5], "force": [50.0, 50.0, 50.1]}
    for name, lead in (("one", 0.0), ("other", 1.0)):
        runs = [
            run_of_cell(method, 0.9, seed, value + lead * (1 + 0.3 * seed))
            for method, of_method in values.items()
            for seed, value in enumerate(of_method)
        ]
        monkeypatch.setitem(RUNS, name, runs)
    rows = compare(None, "one", "other")
    plain = paired(dict(enumerate([0.0, 0.0, 0.0])), {seed: 1 + 0.3 * seed for seed in range(3)}).p
    assert plain < 0.05 < 3 * plain
    assert [(row["p"], row["significant"]) for row in rows] == [(pytest.approx(3 * plain), False)] * 3


def test_cells_of_two_recipes_never_compete():
    told = [(row["settings"], row["best"], row["n"], row["mean"], row["lead"]) for row in winners(None, "edited")]
    assert told == [(SHORT, "snip", 2, 60.0, 10.0), (LONG, "grasp", 2, 75.0, 5.0)]
    assert {row["settings"] for row in winners(None, "x")} == {""}


def test_methods_are_compared_within_a_recipe():
    told = [(row["settings"], row["pairs"], row["difference"]) for row in compare(None, "snip", "grasp", "edited")]
    assert told == [(SHORT, 2, 10.0), (LONG, 2, -5.0)]


def test_experiments_are_compared_where_their_recipes_agree_else_each_with_each():
    told = [(row["settings"], row["method"], row["difference"]) for row in compare(None, "edited", "longer")]
    assert told == [(LONG, "snip", -1.5)]
    told = [(row["settings"], row["difference"]) for row in compare(None, "x", "longer")]
    short, long = "recipe.epochs=10 against recipe.epochs=20", "recipe.epochs=10 against recipe.epochs=30"
    assert told == [(short, 90.0 - 71.5), (long, 49.0)]


def test_a_method_whose_scorer_was_fitted_anew_is_two_methods():
    (row,) = winners(None, "refitted")
    assert (row["best"], row["next"], row["lead"]) == ("autos (scorer=new)", "autos (scorer=old)", 2.0)


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        ("new", [("autos (scorer=new)", "", 2.0)]),
        (
            "third",
            [("autos", "scorer=new against scorer=third", 2.0), ("autos", "scorer=old against scorer=third", 0.0)],
        ),
    ],
)
def test_a_label_that_is_two_methods_in_one_experiment_is_found_in_the_other(monkeypatch, scorer, expected):
    monkeypatch.setitem(RUNS, "fresh", [run_of_cell("autos", 0.9, 0, 80.0, scorer=scorer)])
    told = [(row["method"], row["settings"], row["difference"]) for row in compare(None, "refitted", "fresh")]
    assert told == expected
    back = [(row["settings"], -row["difference"]) for row in compare(None, "fresh", "refitted")]
    assert [difference for _, difference in back] == [difference for *_, difference in expected]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: winners(None, "none"), "no finished cells of experiment 'none'"),
        (lambda: winners(None, "x", "test_acuracy"), "unknown metric 'test_acuracy': did you mean 'test_accuracy'"),
        (lambda: winners(None, "x", sparsity=0.5), "no finished cells"),
        (lambda: compare(None, "snp", "grasp", "x"), "unknown method 'snp': did you mean 'snip'"),
        (lambda: compare(None, "snip", "lth", "y"), "no cell of the same model, dataset, sparsity and seed"),
    ],
)
def test_what_cannot_be_answered_is_said(call, reason):
    with pytest.raises(AutosparseError, match=reason):
        call()


@pytest.mark.parametrize("ablated", [{"ablation": "shuffle"}, {"options.permute": "('param',)"}])
def test_an_ablation_of_a_scorer_does_not_compete_as_the_scorer(monkeypatch, ablated):
    cells = [
        *(run_of_cell("a", 0.9, seed, 80.0 + seed, scorer="1") for seed in range(2)),
        *(run_of_cell("b", 0.9, seed, 90.0 + seed, scorer="2") for seed in range(2)),
        *(run_of_cell("a-shuffled", 0.9, seed, 99.0 + seed, scorer="1") for seed in range(2)),
    ]
    cells[4:] = [replace(run, params={**run.params, **ablated}) for run in cells[4:]]
    monkeypatch.setitem(RUNS, "ablated", cells)
    (row,) = winners(None, "ablated", scorers_only=True)
    assert (row["best"], row["next"]) == ("b", "a")
    assert winners(None, "ablated")[0]["best"] == "a-shuffled"
