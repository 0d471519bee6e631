"""Which kept generations a refinement goes on from, and that they count as progress and as its seconds."""

import time

import pytest
from builders import Killed, survival_of_largest

from autosparse.autos.refine import _Judge
from autosparse.data import load_dataset
from autosparse.experiment.resolved import resolve
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import FitSpec, RefineSpec, ScorerTask
from autosparse.runner.work.do import do
from autosparse.runner.work.refinement import _same
from autosparse.runner.work.sweep_trial import Trial, run_trial

FIT = FitSpec(backbone="linear", inputs=("log_param",), rounds=2, refine=RefineSpec())
NOW = {
    "dataset_fingerprint": "0123",
    "code": {},
    "resolved": resolve(ScorerTask.on(("0" * 16,), FIT, "digits")),
    "built_on": {"0" * 16: "89ab"},
}


def without(name):
    fit = {key: value for key, value in NOW["resolved"]["fit"].items() if key != name}
    return NOW | {"resolved": NOW["resolved"] | {"fit": fit}}


def test_from_its_own_and_from_those_before_a_setting_was_there():
    assert _same(NOW, NOW)
    assert _same(without("step_lr"), NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"dataset_fingerprint": "4567"},
        {"code": {"model mine": "89ab"}},
        {"resolved": NOW["resolved"] | {"fit": NOW["resolved"]["fit"] | {"rounds": 3}}},
        {"built_on": {"0" * 16: "cdef"}},
    ],
)
def test_not_from_those_of_other_data_code_or_values_or_of_another_irp_run(changed):
    assert not _same(NOW | changed, NOW)


def test_the_generations_of_a_trial_count_as_its_progress(tmp_path):
    sweep = SweepTask(irp=("0" * 16,), fit=FIT, points=({"rounds": 3},), dataset="digits")
    trial = Trial(Store(tmp_path), sweep, {"rounds": 3})
    assert trial.reached == 0
    trial.store.states(trial.task).save(2, {}, {})
    assert trial.reached == 2


def small_refinement():
    refinement = RefineSpec(generations=2, population=4, sparsities=(0.9,))
    fit = FitSpec(backbone="linear", inputs=("log_param",), rounds=2, examples=50, refine=refinement)
    return ScorerTask.on(("0" * 16,), fit, "digits")


def test_a_search_begins_anew_if_its_irp_run_has_been_done_again(tmp_path, monkeypatch):
    run = survival_of_largest(recipe={"epochs": 1, "lr": 2**-9, "milestones": [60, 120]})
    task, store, digits = small_refinement(), Store(tmp_path), load_dataset("digits")
    monkeypatch.setattr("autosparse.runner.work.do.survivals_of", lambda irp, store: [run])
    judge, judged = _Judge.__call__, []

    def watched(self, candidates, generation):
        judged.append(generation)
        if judged == [1, 2]:
            raise Killed
        return judge(self, candidates, generation)

    monkeypatch.setattr(_Judge, "__call__", watched)
    with pytest.raises(Killed):
        do(task, store, digits, "cpu", lambda event: None)
    monkeypatch.setattr(Store, "built_on", lambda self, task: dict.fromkeys(task.inputs, "another run"))
    do(task, store, digits, "cpu", lambda event: None)
    assert judged == [1, 2, 1, 2]


@pytest.mark.parametrize("as_trial", [False, True], ids=["alone", "trial"])
def test_the_seconds_of_a_refinement_are_those_of_all_its_processes(tmp_path, monkeypatch, as_trial):
    run = survival_of_largest(recipe={"epochs": 1, "lr": 2**-9, "milestones": [60, 120]})
    task, store, digits = small_refinement(), Store(tmp_path), load_dataset("digits")
    fit = task.fit
    monkeypatch.setattr("autosparse.runner.work.do.survivals_of", lambda irp, store: [run])

    def once() -> float:
        if not as_trial:
            return do(task, store, digits, "cpu", lambda event: None)["seconds"]
        trial = Trial(store, SweepTask(irp=task.irp, fit=fit, points=({"seed": 0},), dataset="digits"), {"seed": 0})
        run_trial(trial, lambda: [run], digits, "cpu", {}, lambda numbers: None)
        return trial.seconds

    judge = _Judge.__call__

    def killed(self, candidates, generation):
        if generation == 2:
            raise Killed
        return judge(self, candidates, generation)

    began = time.perf_counter()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(_Judge, "__call__", killed)
        once()
    first = time.perf_counter() - began
    kept = store.states(task).newest()
    assert kept.step == 1
    assert 0 < kept.content["seconds"] < first
    began = time.perf_counter()
    seconds = once()
    assert kept.content["seconds"] < seconds < first + time.perf_counter() - began
    assert seconds > time.perf_counter() - began
