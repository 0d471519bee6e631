"""Asking for the best settings of a sweep; tests/runner/test_sweep.py asks after a real one."""

import pytest

from autosparse.errors import AutosparseError
from autosparse.tracking.best_trials import best_trials
from autosparse.tracking.client import connect, open_experiment


def test_a_sweep_whose_trials_were_deleted_is_told_of(tmp_path, empty_store):
    client = connect(empty_store(tmp_path))
    tags = {"kind": "sweep", "task_id": "0" * 16, "label": "rate", "searched": "lr", "metric": "held_out_r2"}
    run = client.create_run(open_experiment(client, "exp"), tags=tags)
    client.set_terminated(run.info.run_id)
    with pytest.raises(AutosparseError, match="no trials of sweep 'rate' any more: restore their runs there"):
        best_trials(client, "exp", "rate")
