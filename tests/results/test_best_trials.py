"""Asking for the best settings of a sweep; tests/runner/test_sweep.py asks once it has run a real one."""

import pytest
from builders import write_run

from autosparse.errors import AutosparseError
from autosparse.results.best import best_trials
from autosparse.tracking.client import open_experiment
from autosparse.tracking.trials import log_trials


def test_a_sweep_whose_trials_were_deleted_is_told_of(client):
    tags = {"kind": "sweep", "task_id": "0" * 16, "label": "rate", "searched": "lr", "metric": "held_out_r2"}
    write_run(client, open_experiment(client, "exp"), tags=tags)
    with pytest.raises(AutosparseError, match="no trials of sweep 'rate' any more: restore their runs there"):
        best_trials(client, "exp", "rate")


def test_a_trial_that_failed_is_a_failed_run_with_its_traceback(client):
    experiment = open_experiment(client, "exp")
    parent = client.create_run(experiment).info.run_id
    row = {"id": "0" * 16, "status": "failed", "fit": {"lr": 1.0}, "epochs": 0, "history": [], "value": None}
    told = {"error": "MemoryError: too large", "traceback": "Traceback: in run_fit"}
    record = {"result": {"trials": [{**row, **told}]}, "ended_ms": 1000}
    log_trials(client, experiment, parent, "sweep", record, {})
    (run,) = client.search_runs([experiment], "tags.kind = 'trial'")
    assert run.info.status == "FAILED"
    assert {name: run.data.tags[name] for name in told} == told
