"""A sweep that is set aside takes along those of its trials that code other than today's made."""

import pytest

from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import set_aside
from autosparse.experiment.tasks import FitSpec, ScorerTask

SWEEP = SweepTask(irp=("ab",), points=({"lr": 0.1},))
TRIAL = ScorerTask.on(SWEEP.irp, FitSpec(lr=0.1), None)


@pytest.mark.parametrize(("today", "stays"), [("made of", True), ("other", False)])
def test_a_trial_stays_if_its_code_has_not_changed(tmp_path, monkeypatch, today, stays):
    store = Store(tmp_path)
    monkeypatch.setattr("autosparse.experiment.store.code_of", lambda task: {"backbone mine": "made of"})
    monkeypatch.setattr("autosparse.experiment.superseded.code_of", lambda task: {"backbone mine": today})
    files = store.files_path("scorer", TRIAL.id)
    files.mkdir(parents=True)
    (files / "scorer.json").write_text("{}")
    store.finish(TRIAL, {"report": {}}, {})
    store.finish(SWEEP, {"trials": [{"fit": TRIAL.fit.model_dump(mode="json")}]}, {})
    set_aside(SWEEP, store)
    assert store.record(SWEEP) is None
    assert (store.record(TRIAL) is not None) == stays
