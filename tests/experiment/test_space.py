"""Sweeps in experiment files: what they may say, and what comes of it in a plan."""

import pytest
from builders import experiment_from

from autosparse.errors import AutosparseError
from autosparse.experiment.plan import make_plan
from autosparse.experiment.store import Store
from autosparse.runner.driver.summary import summarise

GOOD = """
name: small
irp:
  snip: {model: lenet-300-100, dataset: digits, iterations: 2}
sweeps:
  rate:
    irp: snip
    epochs: 9
    space: {lr: {loguniform: [1.0e-4, 0.1]}, batch_size: {choice: [64, 256]}}
    trials: 5
    asha: {grace: 1, reduction: 3}
scorers:
  best: {sweep: rate}
grid:
  models: [lenet-300-100]
  datasets: [digits]
  methods: [{criterion: autos, scorer: best}]
  sparsities: [0.9]
  seeds: [0]
"""


def test_a_sweep_stands_between_its_irp_run_and_the_scorer_that_wins_it(tmp_path):
    plan = make_plan(experiment_from(tmp_path, GOOD))
    [irp], [sweep], [scorer], [cell] = plan.irp, plan.sweeps, plan.scorers, plan.cells
    assert sweep.task.irp == (irp.task.id,)
    assert (sweep.task.size, sweep.task.metric, sweep.task.fit.epochs) == (5, "held_out_r2", 9)
    assert scorer.task.spec == {"sweep": sweep.task.id}
    assert cell.task.scorer == scorer.task.id
    assert [planned.task.kind for planned in plan] == ["irp", "sweep", "scorer", "cell"]


def test_a_sweep_alone_takes_with_it_the_irp_runs_that_it_needs(tmp_path):
    more = GOOD.replace("irp:\n", "irp:\n  other: {model: lenet-5, dataset: digits, iterations: 2}\n", 1)
    plan = make_plan(experiment_from(tmp_path, more)).only_sweeps(["rate"])
    assert [planned.label for planned in plan] == ["snip", "rate"]
    assert len(plan.whole.cells) == 1, "of which the parent run goes on telling"
    told = summarise(plan, Store(tmp_path))
    assert told["tasks"] == {"irp": 2, "sweeps": 1, "scorers": 1, "cells": 1}


SPACE = "    space: {lr: {loguniform: [1.0e-4, 0.1]}, batch_size: {choice: [64, 256]}}\n"
DOWNSTREAM = "downstream: {model: lenet-300-100, dataset: digits, sparsity: 1.5}"


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [
        ("loguniform: [1.0e-4, 0.1]", "loguniform: [0, 0.1]", "sweeps.rate.space.lr", "above 0"),
        ("loguniform: [1.0e-4, 0.1]", "loguniform: [0.1, 0.01]", "sweeps.rate.space.lr", "below the upper"),
        ("loguniform: [1.0e-4, 0.1]", "loguniform: [0.1]", "sweeps.rate.space.lr", "takes 2 numbers"),
        ("loguniform:", "logunifrom:", "sweeps.rate.space.lr", "did you mean 'loguniform'"),
        ("choice: [64, 256]", "choice: []", "sweeps.rate.space.batch_size", "nothing to choose"),
        ("choice: [64, 256]", "choice: [64, 0]", "sweeps.rate", "'batch_size': 0"),
        ("choice: [64, 256]", "uniform: [64, 256]", "sweeps.rate", "batch_size: Input should be a valid integer"),
        ("choice: [64, 256]", "quniform: [64, 256, 0.5]", "sweeps.rate", "batch_size: Input should be a valid integer"),
        (
            "loguniform: [1.0e-4, 0.1]",
            "quniform: [1.0, 1.0e+99, 1.0e-300]",
            "sweeps.rate.space.lr",
            "multiples of the step",
        ),
        ("loguniform: [1.0e-4, 0.1]", f"uniform: [1, 1{'0' * 400}]", "sweeps.rate.space.lr", "no numbers above 1e+100"),
        ("choice: [64, 256]", "quniform: [64, 256, 100]", "sweeps.rate.space.batch_size", "multiples of the step"),
        (
            "batch_size: {choice: [64, 256]}",
            "backbone: {choice: [mlp, conditional-mean]}",
            "sweeps.rate",
            "conditional-mean",
        ),
        ("{lr: {", "{learning_rate: {", "sweeps.rate", "unknown setting of a fit 'learning_rate'"),
        (
            "    space: {lr: {loguniform: [1.0e-4, 0.1]}, batch_size: {choice: [64, 256]}}\n",
            "",
            "sweeps.rate",
            "to try",
        ),
        ("    irp: snip\n", "", "sweeps.rate", "give `irp:`"),
        ("irp: snip", "irp: snap", "", "did you mean 'snip'"),
        ("sweep: rate", "sweep: rates", "", "did you mean 'rate'"),
        ("{sweep: rate}", "{sweep: rate, epochs: 3}", "scorers.best", "stands alone"),
        ("{sweep: rate}", "{epochs: 3}", "scorers.best", "`sweep:`, whose winner it is"),
        ("trials: 5", "trials: 0", "sweeps.rate.trials", "greater than or equal to 1"),
        ("trials: 5", "trails: 5", "sweeps.rate.trails", "did you mean 'trials'"),
        ("grace: 1", "graec: 1", "sweeps.rate.asha.graec", "did you mean 'grace'"),
        ("trials: 5", DOWNSTREAM, "sweeps.rate.downstream.sparsity", "less than 1"),
        ("trials: 5", "search: grid", "sweeps.rate.search", "'random' or 'optuna'"),
    ],
)
def test_a_mistake_in_a_sweep_is_told_with_its_key_and_reason(tmp_path, old, new, key, reason):
    assert old in GOOD
    with pytest.raises(AutosparseError) as caught:
        experiment_from(tmp_path, GOOD.replace(old, new, 1))
    lines = str(caught.value).splitlines()
    assert any(f"small.yaml: {key}" in line and reason in line for line in lines), lines
