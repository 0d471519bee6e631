"""Costs of small made-up runs, worked out by hand."""

import pytest

from autosparse.results.costs import Ledger, NotRecorded
from autosparse.results.runs import Run

NETWORK = {"model": "m", "dataset": "d"}
FULL = {"seconds": 5.0, "images": 100.0, "images_score": 10.0, "flops_dense": 1000.0}


def measured(criterion="snip", params=None, tags=None, **metrics):
    return Run("id", criterion, {**NETWORK, **(tags or {})}, {"criterion": criterion, **(params or {})}, FULL | metrics)


def without(run, *names):
    return Run(run.run_id, run.name, run.tags, run.params, {k: v for k, v in run.metrics.items() if k not in names})


def made(kind, task_id, params=None, **metrics):
    return Run(task_id, f"{kind} {task_id}", {"task_id": task_id, "kind": kind}, params or {}, metrics)


IRP = made("irp", "i1", NETWORK, seconds=50.0, images=2000.0)
FIT = made("scorer", "s1", {"irp": "['i1']"}, seconds=3.0)
LEARNED = measured("autos", {"scorer": "s1"})


def costs(run, *of):
    ledger = Ledger([run], *of)
    return [ledger.of_cell(run, unit) for unit in ("seconds", "images", "flops")]


def once(run, *of):
    ledger = Ledger([run], *of)
    return [ledger.once(run, unit) for unit in ("seconds", "images", "flops")]


def test_scoring_and_training_add_up():
    assert costs(measured()) == [5, 110, 3 * 1000 * 110]


def test_training_counts_as_it_was_computed_and_scoring_as_dense():
    assert costs(measured(flops_trained=200.0)) == [5, 110, 3 * (1000 * 10 + 200 * 100)]


def test_trainings_before_the_masks_are_among_both_counts_and_count_once():
    assert costs(measured("lth", images=300.0, images_score=200.0, flops_trained=400.0)) == [
        5,
        300,
        3 * (1000 * 200 + 400 * 100),
    ]


def test_masks_that_change_in_training_cost_no_scoring():
    assert costs(measured("rigl", images_score=0.0)) == [5, 100, 3 * 1000 * 100]


def test_a_branch_has_its_share_of_its_irp_run():
    branch = measured("irp", {"level": "5", "irp.iterations": "20"}, {"irp_id": "i1"})
    assert costs(branch, [IRP]) == [5 + 50 / 4, 100 + 500, 3 * 1000 * (100 + 500)]
    with pytest.raises(NotRecorded, match="IRP run i1"):
        costs(branch)
    assert once(branch, [IRP]) == [0, 0, 0]


def test_what_a_scorer_took_is_spent_once():
    assert costs(LEARNED, [IRP], [FIT]) == costs(measured())
    assert once(LEARNED, [IRP], [FIT]) == [53, 2000, 3 * 1000 * 2000]
    assert once(measured(), [IRP], [FIT]) == [0, 0, 0]


def test_a_fit_that_trains_networks_has_their_images():
    refined = made("scorer", "s1", {"irp": '["i1"]', "fit.refine.generations": "2"}, seconds=3.0, images=400.0)
    assert once(LEARNED, [IRP], [refined]) == [53, 2400, 3 * 1000 * 2400]
    with pytest.raises(NotRecorded, match="how many images"):
        Ledger([LEARNED], [IRP], [without(refined, "images")]).once(LEARNED, "images")


def test_a_sweep_counts_with_the_scorer_that_won_it():
    winner = made("scorer", "s1", {"sweep": "w", "irp": "[]"}, seconds=1.0)
    sweep = made("sweep", "w", {"irp": '["i1"]'}, seconds=30.0)
    assert once(LEARNED, [IRP], [winner], [sweep]) == [81, 2000, 3 * 1000 * 2000]
    trained = made("sweep", "w", {"irp": '["i1"]', "downstream.model": "m"}, seconds=30.0)
    ledger = Ledger([LEARNED], [IRP], [winner], [trained])
    assert ledger.once(LEARNED, "seconds") == 81
    with pytest.raises(NotRecorded):
        ledger.once(LEARNED, "images")


def test_flops_of_an_irp_run_on_a_network_of_which_no_cell_tells_are_not_guessed():
    elsewhere = made("irp", "i1", {"model": "other", "dataset": "d"}, seconds=50.0, images=2000.0)
    ledger = Ledger([LEARNED], [elsewhere], [FIT])
    assert ledger.once(LEARNED, "images") == 2000
    with pytest.raises(NotRecorded, match="FLOPs"):
        ledger.once(LEARNED, "flops")


@pytest.mark.parametrize(
    ("missing", "known"),
    [("seconds", {"images", "flops"}), ("images_score", {"seconds"}), ("flops_dense", {"seconds", "images"})],
)
def test_what_an_older_version_did_not_record_is_not_known(missing, known):
    run = without(measured(), missing)
    for unit in ("seconds", "images", "flops"):
        if unit in known:
            assert Ledger([run]).of_cell(run, unit) == Ledger([measured()]).of_cell(measured(), unit)
        else:
            with pytest.raises(NotRecorded, match=missing):
                Ledger([run]).of_cell(run, unit)


def test_a_dense_network_is_not_scored_whatever_its_version_recorded():
    assert costs(without(measured("dense"), "images_score")) == [5, 100, 3 * 1000 * 100]


def test_a_criterion_that_is_not_here_may_have_trained():
    foreign = measured("somebodys")
    assert Ledger([foreign]).of_cell(foreign, "seconds") == 5
    with pytest.raises(NotRecorded, match="somebodys"):
        Ledger([foreign]).of_cell(foreign, "images")
