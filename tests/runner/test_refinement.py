"""Which kept generations a refinement goes on from, and that they count as progress."""

import pytest

from autosparse.experiment.resolved import resolve
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import FitSpec, RefineSpec, ScorerTask
from autosparse.runner.work.refinement import _same
from autosparse.runner.work.sweep_trial import Trial

FIT = FitSpec(backbone="linear", inputs=("log_param",), rounds=2, refine=RefineSpec())
NOW = {"dataset_fingerprint": "0123", "code": {}, "resolved": resolve(ScorerTask.on(("0" * 16,), FIT, "digits"))}


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
    ],
)
def test_not_from_those_of_other_data_code_or_values(changed):
    assert not _same(NOW | changed, NOW)


def test_the_generations_of_a_trial_count_as_its_progress(tmp_path):
    sweep = SweepTask(irp=("0" * 16,), fit=FIT, points=({"rounds": 3},), dataset="digits")
    trial = Trial(Store(tmp_path), sweep, {"rounds": 3})
    assert trial.reached == 0
    trial.store.states(trial.task).save(2, {}, {})
    assert trial.reached == 2
