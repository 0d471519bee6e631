"""The scorer that won a sweep becomes the scorer that an experiment names."""

import pytest

from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import FitSpec, ScorerTask
from autosparse.files import pack_record
from autosparse.runner.work import do as work
from autosparse.training import Execution


def test_a_winner_that_has_been_damaged_is_fitted_again_as_the_run_says(tmp_path, monkeypatch):
    store, fit = Store(tmp_path), FitSpec()
    sweep = SweepTask(irp=("0123456789abcdef",), points=({"lr": 0.1},))
    best = {"id": ScorerTask.on(sweep.irp, fit, None).id, "fit": fit.model_dump(mode="json")}
    told = {"kind": "sweep", "id": sweep.id, "spec": sweep.spec, "ended_ms": 1, "files": {}, "environment": {}}
    store.place.write(f"sweeps/{sweep.id}.json", pack_record({**told, "result": {"best": best}}))
    store.place.write(f"scorers/{best['id']}.json", b"damaged")
    given = []
    monkeypatch.setattr(work, "survivals_of", lambda irp, store: [])
    monkeypatch.setattr(work, "run_fit", lambda *_, **how: given.append(how) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        work.do(ScorerTask(sweep=sweep.id), store, None, "cpu", lambda _: None, Execution("float32"), 0.25)
    assert given == [{"execution": Execution("float32"), "share": 0.25}]
