"""Scorers that prune in rounds, through all stages on a local Ray."""

from dataclasses import replace

import pytest
from builders import a_grid, plan_from

from autosparse.autos import load_scorer
from autosparse.experiment.store import Store
from autosparse.runner.driver.run import run_plan
from autosparse.runner.screen.console import Screen

pytestmark = pytest.mark.usefixtures("ray_running")
RECIPE = {"epochs": 1, "batch_size": 256}
IRP = {"model": "lenet-300-100", "dataset": "digits", "iterations": 2, "final_density": 0.5, "recipe": RECIPE}
FIT = {"irp": "magnitude", "backbone": "linear", "inputs": ["log_param", "activation"], "rounds": 2}


def plan_with_scorers(name, **parts):
    methods = [{"criterion": "autos", "scorer": own, "name": own} for own in parts["scorers"]]
    grid = a_grid(methods=methods, sparsities=[0.8], recipe=RECIPE)
    content = {"name": name, "irp": {"magnitude": {**IRP, "criterion": "magnitude"}}, "grid": grid, **parts}
    return plan_from(**content)


def done(plan, settings):
    outcome = run_plan(plan, replace(settings, workers=2), Screen())
    assert (outcome.failed, outcome.to_do) == ([], [])
    return Store(settings.storage)


@pytest.mark.slow  # the demo fits such a scorer and prunes with it
def test_workers_fit_refine_and_prune_with_them(settings):
    refine = {"generations": 1, "population": 4, "sparsities": [0.8]}
    plan = plan_with_scorers("rounds", scorers={"plain": FIT, "refined": {**FIT, "refine": refine}})
    store = done(plan, settings)
    records = {planned.label: store.record(planned.task) for planned in plan.scorers}
    assert {record["result"]["dataset_fingerprint"] for record in records.values()} == {"6a812af8365b27b7"}
    assert len(records["refined"]["result"]["report"]["refined"]["validation_accuracy"]) == 1
    for planned in plan.cells:
        result = store.record(planned.task)["result"]
        assert result["kept"] == 10_040
        assert result["images_score"] == 2 * 1437
    assert {load_scorer(store.fetched("scorer", p.task.id)).in_rounds.rounds for p in plan.scorers} == {2}


@pytest.mark.slow
def test_a_sweep_over_rounds_feeds_its_winner_to_the_grid(settings):
    sweep = {**FIT, "points": [{"rounds": 1}, {"rounds": 3}]}
    sweep |= {"downstream": {"model": "lenet-300-100", "dataset": "digits", "sparsity": 0.9, "recipe": RECIPE}}
    plan = plan_with_scorers("swept", sweeps={"rounds": sweep}, scorers={"best": {"sweep": "rounds"}})
    store = done(plan, settings)
    [swept], [winner] = plan.sweeps, plan.scorers
    best = store.record(swept.task)["result"]["best"]
    assert load_scorer(store.fetched("scorer", winner.task.id)).in_rounds.rounds == best["values"]["rounds"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"scorers": {"s": {**FIT, "steps": 3}}},
            "none of the inputs log_param, activation is measured after training",
        ),
        ({"scorers": {"s": {**FIT, "backbone": "conditional-mean", "inputs": ["context"]}}}, "takes at most 2 inputs"),
        ({"scorers": {"s": {**FIT, "inputs": ["log_parm"]}}}, "unknown scorer input 'log_parm'"),
        ({"scorers": {"s": {**FIT, "backbone": "mlp", "refine": {}}}}, "has no coefficients: use backbone linear"),
        (
            {"scorers": {"s": {"irp": "magnitude", "backbone": "linear", "refine": {}}}},
            "is for a scorer that prunes in",
        ),
        ({"scorers": {"s": {**FIT, "refine": {"start": ["synflow"]}}}}, "unknown input to start from 'synflow'"),
        ({"scorers": {"s": {**FIT, "irp": ["magnitude", "other"]}}}, "fitted on one data set, not on digits, mnist"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(parts, said):
    from autosparse.errors import AutosparseError

    parts = {"irp": {"magnitude": IRP, "other": {**IRP, "dataset": "mnist"}}, **parts}
    with pytest.raises(AutosparseError, match=said):
        plan_with_scorers("wrong", **parts)
