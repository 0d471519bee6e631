"""One trial of a sweep in this process: it ends as a plain fit, also when it was broken off."""

import errno
import itertools
import math
import shutil
from dataclasses import replace

import pytest
import torch
from builders import Killed
from sweep_trials import DOWNSTREAM, SURVIVAL, carry_out, sweep_of, trial_of

from autosparse.autos import load_scorer
from autosparse.errors import CorruptFile, Unreachable
from autosparse.experiment.resolved import differences, resolve, resolved_of
from autosparse.experiment.store import Store
from autosparse.runner.work import sweep_trial as module
from autosparse.runner.work.sweep_trial import Trial, finish_sweep, run_trial, tried
from autosparse.storage.checkpoints import Checkpoints
from autosparse.training import Execution

ONE_EPOCH = {"epochs": 1, "batch_size": 512}


def test_a_trial_reports_each_epoch_and_leaves_a_finished_scorer(tmp_path):
    store, sweep, told = Store(tmp_path), sweep_of(), []
    trial = trial_of(store, sweep)
    carry_out(trial, told.append)
    assert [numbers["epoch"] for numbers in told] == [1, 2, 3, 4]
    report = store.record(trial.task)["result"]["report"]
    assert trial.value == told[-1]["held_out_r2"] == report["held_out_r2"]
    assert not list(trial.place.path.glob("*.safetensors")), "nothing to go on from is left"


@pytest.mark.parametrize(("at", "place"), [(1, "folder"), (3, "folder"), (2, "bucket")])
def test_a_trial_that_was_broken_off_goes_on_and_ends_the_same_to_the_bit(tmp_path, request, at, place):
    sweep, whole = sweep_of(), trial_of(Store(tmp_path / "whole"), sweep_of())
    carry_out(whole)

    def kill(numbers):
        if numbers["epoch"] == at:
            raise Killed

    store = Store(tmp_path / "broken" if place == "folder" else request.getfixturevalue("s3")("trials"))
    with pytest.raises(Killed):
        carry_out(trial_of(store, sweep), kill)
    assert [trial.status for trial in tried(sweep, store)] == ["running"]

    told, again = [], trial_of(store, sweep)
    assert again.checkpoints.newest().step == at
    carry_out(again, told.append)
    assert told == whole.history == again.history
    states = [load_scorer(t.store.fetched("scorer", t.task.id)).network.state_dict() for t in (whole, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("kept", [False, True])
def test_a_trial_killed_as_its_last_epoch_is_kept_has_that_epochs_value(tmp_path, monkeypatch, kept):
    sweep, whole = sweep_of(), trial_of(Store(tmp_path / "whole"), sweep_of())
    carry_out(whole)
    store, save = Store(tmp_path / "broken"), Checkpoints.save

    def kill(self, step, *given):
        if step < 4 or kept:
            save(self, step, *given)
        if step == 4:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "save", kill)
        carry_out(trial_of(store, sweep))
    again = trial_of(store, sweep)
    carry_out(again)
    assert again.history == whole.history


def test_a_trial_killed_before_its_scorer_is_written_has_it_when_its_last_report_ends_it(tmp_path):
    store, sweep = Store(tmp_path), sweep_of()

    def killed(self, *given):
        raise Killed

    def stop(numbers):
        """Stop as ASHA does at the most epochs that there are."""
        if numbers["epoch"] == 4:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Store, "finish", killed)
        carry_out(trial_of(store, sweep))
    again = trial_of(store, sweep)
    assert (again.status, again.reached) == ("running", 4)
    with pytest.raises(Killed):
        carry_out(again, stop)
    assert trial_of(store, sweep).status == "done"
    assert store.record(again.task) is not None


@pytest.mark.parametrize("error", [Unreachable, CorruptFile])
def test_what_is_wrong_with_the_storage_is_no_failure_of_a_trial(tmp_path, error):
    def gone():
        raise error("for a while")

    trial = trial_of(Store(tmp_path), sweep_of())
    with pytest.raises(error):
        run_trial(trial, gone, None, "cpu", {}, lambda numbers: None)
    assert not trial.over
    carry_out(trial)
    assert trial.status == "done"


def test_a_candidate_drawn_twice_stays_done_when_its_double_is_stopped(tmp_path):
    store, sweep = Store(tmp_path), sweep_of()
    first, double = trial_of(store, sweep), trial_of(store, sweep)
    carry_out(first)
    double.write("running")
    double.write("stopped")
    assert trial_of(store, sweep).row == first.row


def test_what_another_trial_has_left_is_not_its_own(tmp_path):
    store, sweep = Store(tmp_path), sweep_of()
    carry_out(trial_of(store, sweep))
    mine, theirs = trial_of(store, sweep).place.path, trial_of(store, sweep, lr=0.02).place.path
    shutil.copytree(mine, theirs)
    again = trial_of(store, sweep, lr=0.02)
    assert (again.status, again.history) == ("running", [])


def test_a_trial_whose_newest_state_is_damaged_goes_on_from_the_one_before(tmp_path):
    store, sweep, told = Store(tmp_path), sweep_of(), []

    def kill(numbers):
        if numbers["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        carry_out(trial_of(store, sweep), kill)
    (trial_of(store, sweep).place.path / "00000003.safetensors").write_bytes(b"half a")
    carry_out(trial_of(store, sweep), told.append)
    assert [numbers["epoch"] for numbers in told] == [1, 2, 3, 4]


def test_seconds_add_up_over_processes_and_trials(tmp_path):
    store, sweep = Store(tmp_path), sweep_of()

    def kill(numbers):
        raise Killed

    with pytest.raises(Killed):
        carry_out(trial_of(store, sweep), kill)
    earlier = trial_of(store, sweep).seconds
    assert earlier > 0
    known = trial_of(store, sweep)
    known.seconds = 1000.0
    known.write("running")
    carry_out(trial_of(store, sweep))
    carry_out(trial_of(store, sweep, lr=0.02))
    first, second = trial_of(store, sweep), trial_of(store, sweep, lr=0.02)
    assert 1000 < first.seconds < 1300
    assert store.record(first.task)["result"]["seconds"] == first.seconds
    assert 0 < second.seconds < 300
    finish_sweep(sweep, [first, second], store, {})
    assert store.record(sweep)["result"]["seconds"] == pytest.approx(first.seconds + second.seconds)


def test_what_is_over_is_told_again_and_not_done_again(tmp_path):
    store, sweep, told = Store(tmp_path), sweep_of(), []
    carry_out(trial_of(store, sweep))
    again = trial_of(store, sweep)
    run_trial(again, lambda: pytest.fail("read the data"), None, "cpu", {}, told.append)
    assert told == again.history
    assert len(told) == 4


def test_a_stopped_trial_stays_stopped(tmp_path):
    store, sweep, told = Store(tmp_path), sweep_of(), []

    def stop(numbers):
        raise Killed

    with pytest.raises(Killed):
        carry_out(trial_of(store, sweep), stop)
    trial_of(store, sweep).write("stopped")
    run_trial(trial_of(store, sweep), lambda: pytest.fail("read the data"), None, "cpu", {}, told.append)
    assert [numbers["epoch"] for numbers in told] == [1]


def test_settings_that_do_not_work_fail_alone_with_their_reason(tmp_path):
    store, sweep = Store(tmp_path), sweep_of()
    trial = trial_of(store, sweep, lr=1e30)
    carry_out(trial)
    assert trial.status == "failed"
    assert "lower --lr" in trial.row["error"]


def test_a_trial_that_raises_is_tried_as_often_as_asked_and_then_has_failed_with_its_traceback(tmp_path):
    store, sweep = Store(tmp_path), sweep_of()

    def run_out(numbers):
        if numbers["epoch"] == 2:
            raise torch.OutOfMemoryError("out of memory at s3://me:secret@host/bucket")

    for status in ("running", "failed"):
        with pytest.raises(torch.OutOfMemoryError):
            carry_out(trial_of(store, sweep), run_out, retries=1)
        assert trial_of(store, sweep).status == status
    row = trial_of(store, sweep).row
    assert row["error"] == "OutOfMemoryError: out of memory at s3://***@host/bucket"
    assert "in run_out" in row["traceback"]
    assert "secret" not in row["traceback"]
    assert row["epochs"] == 2


def test_a_trial_that_raised_once_goes_on_and_ends_well(tmp_path):
    store, sweep = Store(tmp_path), sweep_of()
    with pytest.raises(OSError, match="for a moment"):
        run_trial(trial_of(store, sweep), lambda: raising(OSError("for a moment")), None, "cpu", {}, print, retries=1)
    again = trial_of(store, sweep)
    carry_out(again, retries=1)
    assert (again.status, again.error, again.traceback) == ("done", "", "")


def raising(error):
    raise error


def test_a_record_that_cannot_be_read_for_a_moment_is_no_failure_of_a_trial(tmp_path, monkeypatch):
    store, sweep = Store(tmp_path), sweep_of()
    trial, read = trial_of(store, sweep), store.place.read

    def fail(name):
        return raising(OSError(errno.EIO, "Input/output error")) if name.startswith("scorers/") else read(name)

    monkeypatch.setattr(store.place, "read", fail)
    with pytest.raises(Unreachable, match="Input/output error; make it readable"):
        carry_out(trial)
    assert trial_of(store, sweep).status == "running"


def test_a_trial_whose_metric_is_not_finite_has_failed_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("autosparse.autos.learn.r_squared", lambda predicted, target: -math.inf)
    trial = trial_of(Store(tmp_path), sweep_of())
    carry_out(trial, retries=1)
    assert trial.status == "failed"
    assert "held_out_r2 became -inf in epoch 1: try a lower lr" in trial.row["error"]


def test_accuracy_is_measured_where_a_trial_may_be_stopped_and_at_its_end(tmp_path, tiny_digits):
    sweep = sweep_of(downstream=DOWNSTREAM, asha={"grace": 1, "reduction": 2}, fit={"epochs": 5, "batch_size": 512})
    trial = trial_of(Store(tmp_path), sweep)
    carry_out(trial, dataset=tiny_digits)
    measured = [numbers["epoch"] for numbers in trial.history if "validation_accuracy" in numbers]
    assert measured == [1, 2, 4, 5]
    assert trial.value == trial.history[-1]["validation_accuracy"] > 0


def test_test_images_choose_nothing_unless_the_sweep_asks_for_that(tmp_path, tiny_digits):
    images = tiny_digits.test
    spoilt = replace(tiny_digits, test=replace(images, labels=torch.full_like(images.labels, 0), images=~images.images))
    found = {}
    for share in (1 / 12, 0.25, 0):
        for name, dataset in {"whole": tiny_digits, "spoilt": spoilt}.items():
            chosen = {**DOWNSTREAM, "validation": share}
            trial = trial_of(Store(tmp_path / f"{share:.2f} {name}"), sweep_of(downstream=chosen, fit=ONE_EPOCH))
            carry_out(trial, dataset=dataset)
            found[share, name] = trial.value
            assert trial.sweep.metric in trial.history[-1]
    assert found[1 / 12, "whole"] == found[1 / 12, "spoilt"] != found[0.25, "whole"] == found[0.25, "spoilt"]
    assert found[0, "whole"] != found[0, "spoilt"]


def test_a_sweep_that_chose_by_test_images_is_done_again(tmp_path, tiny_digits):
    store, sweep = Store(tmp_path), sweep_of(downstream=DOWNSTREAM, fit=ONE_EPOCH)
    trial = trial_of(store, sweep)
    carry_out(trial, dataset=tiny_digits)
    finish_sweep(sweep, [trial], store, {})
    assert store.record(sweep)["result"]["metric"] == "validation_accuracy"
    record = store.written("sweep", sweep.id)
    del record["resolved"]["downstream"]["validation"]
    assert [str(each) for each in differences(resolved_of(record), resolve(sweep))] == [
        f"downstream.validation 0.0 -> {1 / 12}"
    ]


def test_a_trial_whose_scorer_was_there_costs_its_fit_and_its_networks(tmp_path, tiny_digits):
    store, first = Store(tmp_path), sweep_of(fit=ONE_EPOCH)
    carry_out(trial_of(store, first))
    fit = store.record(trial_of(store, first).task)["result"]["seconds"]
    second = sweep_of(downstream=DOWNSTREAM, fit=ONE_EPOCH)
    trial = trial_of(store, second)
    carry_out(trial, dataset=tiny_digits)
    assert trial.task.id == trial_of(store, first).task.id
    assert trial_of(store, second).seconds == trial.seconds > fit > 0


def test_networks_that_judge_a_scorer_are_no_part_of_what_the_scorer_costs(tmp_path, tiny_digits, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    store, sweep = Store(tmp_path), sweep_of(downstream=DOWNSTREAM, fit=ONE_EPOCH)
    monkeypatch.setattr(
        module, "run_cells", lambda *_, **__: ([(None, {"test_accuracy": next(clock)})] for _ in "judge")
    )
    carry_out(trial_of(store, sweep), dataset=tiny_digits)
    trial = trial_of(store, sweep)
    assert trial.seconds_judging > len("judge")
    assert store.record(trial.task)["result"]["seconds"] == trial.seconds - trial.seconds_judging
    assert trial.seconds > trial.seconds_judging


def test_networks_are_trained_in_the_precision_that_was_asked_for_and_the_record_says_so(
    tmp_path, tiny_digits, monkeypatch
):
    losses = []

    def watched(*given, **options):
        for done in run_cells(*given, **options):
            losses.extend(result["history"]["train_loss"] for _, result in done)
            yield done

    run_cells = module.run_cells
    monkeypatch.setattr(module, "run_cells", watched)
    sweep = sweep_of(downstream=DOWNSTREAM, fit={"epochs": 1, "batch_size": 512})
    environment = {"device_name": "some processor", "gpus_per_job": 0.0}
    for precision in ("float32", "bfloat16"):
        store = Store(tmp_path / precision)
        trial, execution = trial_of(store, sweep), Execution(precision)
        run_trial(trial, lambda: [SURVIVAL], tiny_digits, "cpu", environment, print, execution=execution)
        finish_sweep(sweep, [trial_of(store, sweep)], store, {"gpus_per_job": 0.0})  # as another process reads it
        record = store.record(sweep)
        assert record["environment"] == environment
        assert store.record(trial.task)["environment"] == environment
        assert (record["result"]["device"], record["result"]["precision"]) == ("cpu", precision)
        assert record["result"]["dataset_fingerprint"] == tiny_digits.fingerprint
        [row] = record["result"]["trials"]
        assert (row["device_name"], row["precision"]) == ("some processor", precision)
    assert losses[0] != losses[1]


def test_a_backbone_that_learns_at_once_has_no_epochs(tmp_path):
    sweep = sweep_of(fit={"backbone": "conditional-mean"}, space={"rows": {"randint": (1000, 2000)}})
    trial = Trial(Store(tmp_path), sweep, {"rows": 1000})
    carry_out(trial)
    assert (trial.row["status"], trial.row["epochs"]) == ("done", 0)
    assert trial.row["value"] == trial.history[-1]["held_out_r2"]
