"""What is known of a trial from before: when it counts, and when it is forgotten."""

import pytest
from sweep_trials import DOWNSTREAM, carry_out, sweep_of, trial_of

from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.runner.work.sweep_trial import run_trial, tried
from autosparse.runner.work.trial_origin import keep_for


def test_a_scorer_that_another_experiment_fitted_is_found(tmp_path):
    store, told = Store(tmp_path), []
    carry_out(trial_of(store, sweep_of()))
    other = trial_of(store, sweep_of(space={"lr": {"uniform": (0.001, 0.2)}}))
    run_trial(other, lambda: pytest.fail("fitted again"), None, "cpu", {}, told.append)
    assert [numbers["epoch"] for numbers in told] == [4]
    assert other.value == pytest.approx(trial_of(store, sweep_of()).value)


def test_what_is_known_of_a_trial_is_forgotten_where_its_irp_run_was_done_again_otherwise(tmp_path):
    store, irp = Store(tmp_path), IrpTask(model="lenet-300-100", dataset="digits")
    sweep = sweep_of(irp=(irp.id,))

    def finish(data):
        store.files_path("irp", irp.id).mkdir(parents=True, exist_ok=True)
        store.finish(irp, {"dataset_fingerprint": data}, {})

    finish("aa")
    carry_out(trial_of(store, sweep))
    assert trial_of(store, sweep).over
    finish("aa")
    assert trial_of(store, sweep).over, "it came out the same"
    finish("bb")
    assert not trial_of(store, sweep).over
    assert store.record(trial_of(store, sweep).task) is None


def test_a_trial_is_done_again_if_the_users_code_has_changed(tmp_path, monkeypatch):
    store, sweep = Store(tmp_path), sweep_of()

    def write_code(text):
        for module in ("experiment.store", "experiment.superseded", "runner.work.trial_origin"):
            monkeypatch.setattr(f"autosparse.{module}.code_of", lambda task: {"backbone mine": text})

    write_code("first")
    carry_out(trial_of(store, sweep))
    assert trial_of(store, sweep).over
    first = store.record(trial_of(store, sweep).task)
    write_code("second")
    assert not trial_of(store, sweep).over
    carry_out(trial_of(store, sweep))
    assert trial_of(store, sweep).over
    assert store.record(trial_of(store, sweep).task)["ended_ms"] > first["ended_ms"]
    [aside] = store.place.within("superseded/scorers").names()
    assert aside.endswith(f"{first['ended_ms']}.json")


def test_the_records_of_irp_runs_are_read_once_for_all_trials_of_a_sweep(tmp_path, monkeypatch):
    store, sweep, read = Store(tmp_path), sweep_of(irp=("some", "other")), []
    for lr in (0.01, 0.02, 0.03):
        trial_of(store, sweep, lr).write("stopped")
    monkeypatch.setattr(store, "written", lambda kind, task_id: read.append(task_id))
    assert [trial.over for trial in tried(sweep, store)] == [True] * 3
    assert read == ["some", "other"]


def test_what_is_known_of_trials_is_forgotten_where_networks_are_trained_on_other_data(tmp_path):
    store, sweep = Store(tmp_path), sweep_of(downstream=DOWNSTREAM)
    trial_of(store, sweep).write("stopped")
    keep_for("aa", sweep, store)
    assert trial_of(store, sweep).over, "by a version that did not say"
    keep_for("aa", sweep, store)
    assert trial_of(store, sweep).over
    keep_for("bb", sweep, store)
    assert not trial_of(store, sweep).over


def test_where_the_note_of_the_data_is_damaged_trials_are_done_again(tmp_path):
    store, sweep = Store(tmp_path), sweep_of(downstream=DOWNSTREAM)
    keep_for("aa", sweep, store)
    trial_of(store, sweep).write("stopped")
    store.place.within(f"sweeps/{sweep.id}").write("data.json", b"{")
    keep_for("bb", sweep, store)
    assert not trial_of(store, sweep).over
