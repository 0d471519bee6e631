"""What a run says of what is not done: what failed, what waits and for what, and what goes on with it."""

import json
from dataclasses import replace

import pytest
from builders import ENVIRONMENT, a_grid, plan_from

from autosparse.cli import run as command
from autosparse.results.progress import progress_of
from autosparse.runner.driver import run as module
from autosparse.runner.driver.outcome import outcome_of
from autosparse.runner.driver.run import run_plan
from autosparse.runner.experiment import carry_out
from autosparse.runner.screen.console import Screen
from autosparse.tracking.client import connect

R2 = ("train_r2", "held_out_r2", "binned_mean_r2")
RESULTS = {
    "irp": {"accuracy": [90.0], "kept": 1, "total": 2, "density_by_layer": {}, "seconds": 1.0},
    "scorer": {"report": {"warnings": [], "layer_density_at_95": {}, **dict.fromkeys(R2, 0.5)}},
    "cell": {
        **dict.fromkeys(
            ("best_accuracy", "sparsity", "kept", "total", "seconds", "seconds_score", "seconds_train"), 1.0
        ),
        "history": {"train_loss": [1.0], "test_accuracy": [90.0]},
        "density_by_layer": {},
        "collapsed_layers": [],
    },
}
CONTENT = {
    "name": "exp",
    "irp": {"snip": {"model": "lenet-300-100", "dataset": "digits", "iterations": 2}},
    "scorers": {"mine": {"irp": "snip"}},
    "grid": a_grid(methods=["snip", {"criterion": "autos", "scorer": "mine"}]),
}


@pytest.fixture
def plan():
    return plan_from(**CONTENT)


@pytest.fixture(autouse=True)
def _prepared(store):
    store.prepare()


@pytest.fixture
def idle(monkeypatch):
    """Do no work, as happens if every worker dies."""
    monkeypatch.setattr(module, "_do", lambda *given: None)


def finish(store, *planned):
    for p in planned:
        if p.task.kind in ("irp", "scorer"):
            store.files_path(p.task.kind, p.task.id).mkdir(parents=True)
            (store.files_path(p.task.kind, p.task.id) / "sample.parquet").write_bytes(b"")
        store.finish(p.task, RESULTS[p.task.kind], ENVIRONMENT)


def told(left):
    return {p.label: reason for p, reason in left}


def test_a_run_of_one_stage_leaves_the_experiment_to_be_gone_on_with(plan, store, settings):
    finish(store, *plan.irp)
    outcome = run_plan(plan, settings, Screen(), only=("irp",))
    assert (outcome.found, outcome.done, outcome.whole) == (1, 0, True)
    assert progress_of(connect(settings.tracking_uri), "exp").status == "SCHEDULED"


def test_what_waits_for_a_stage_that_was_not_asked_for_has_not_failed(plan, store, settings, idle):
    outcome = run_plan(plan, settings, Screen(), only=("grid",))
    assert (outcome.failed, outcome.whole) == ([], False)
    assert told(outcome.to_do) == {
        "snip": "interrupted, or its worker died; run again to go on",
        "autos": "waits for scorer mine, which waits for irp snip, which is not done: run again without --only",
    }
    assert progress_of(connect(settings.tracking_uri), "exp").status == "SCHEDULED"


def test_what_waits_for_a_failure_is_no_failure_but_needs_it_tried_again(plan, store, settings, idle):
    finish(store, plan.cells[0])
    store.fail(plan.irp[0].task, "it diverged", "Traceback: ...", ENVIRONMENT)
    screen, expected = Screen(), []
    screen.expect = lambda *counts: expected.append(counts)
    outcome = run_plan(plan, settings, screen)
    assert {("irp", 1, 0, 1), ("grid", 2, 1, 0)} <= set(expected), "what failed is not shown as found finished"
    assert told(outcome.failed) == {"snip": "it diverged"}
    assert told(outcome.to_do) == {
        "mine": "waits for irp snip, which failed: run again with --retry-failed",
        "autos": "waits for scorer mine, which waits for irp snip, which failed: run again with --retry-failed",
    }
    assert progress_of(connect(settings.tracking_uri), "exp").status == "FAILED"


def test_a_failure_of_another_stage_stays_one_of_the_experiment(plan, store):
    finish(store, *plan.irp)
    store.fail(plan.cells[0].task, "it diverged", "Traceback: ...", ENVIRONMENT)
    assert outcome_of(plan.irp, [], store, plan)[1] == "FAILED"


def test_all_that_is_done_is_finished(plan, store):
    finish(store, *plan)
    outcome, status = outcome_of(list(plan), plan.cells, store, plan)
    assert (outcome.found, outcome.done, outcome.whole, status) == (2, 2, True, "FINISHED")
    sweep = replace(plan, irp=plan.irp, scorers=[], cells=[], whole=plan)
    assert outcome_of(plan.irp, [], store, sweep)[1] == "FINISHED"


def test_the_command_says_what_is_still_to_do_and_calls_it_no_failure(plan, store, settings, idle, capsys):
    assert command.show_outcome(carry_out(plan, settings, only=["grid"])) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "exp: 0 done, 0 found finished, 0 failed, 2 still to do" in said
    assert "1 still to do, such as autos (cell" in said
    assert "waits for scorer mine" in said
    assert "left alone" not in said
    assert command.show_outcome(carry_out(plan, settings, only=["grid"]), as_json=True) == 1
    out = json.loads(capsys.readouterr().out)
    assert (out["failed"], [left["label"] for left in out["to_do"]]) == ([], ["snip", "autos"])


def test_the_command_says_that_failures_are_left_alone(plan, store, settings, idle, capsys):
    finish(store, *plan.irp, *plan.scorers, plan.cells[0])
    store.fail(plan.cells[1].task, "it diverged", "Traceback: ...", ENVIRONMENT)
    assert command.show_outcome(carry_out(plan, settings), as_json=True) == 1
    captured = capsys.readouterr()
    assert "the next run skips failed tasks; use --retry-failed to try them again" in captured.err
    assert "still to do" not in captured.err
    assert [left["reason"] for left in json.loads(captured.out)["failed"]] == ["it diverged"]
