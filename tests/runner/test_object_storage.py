"""An experiment whose storage is a prefix on a real S3 server: broken off, resumed, damaged, equal to a folder's."""

from dataclasses import replace

import pytest
import torch
from builders import Killed, a_grid, plan_from

from autosparse import storage
from autosparse.autos import load_scorer
from autosparse.data import load_dataset
from autosparse.errors import CorruptFile
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.runner.driver.run import run_plan, unfinished
from autosparse.runner.screen.console import Screen
from autosparse.runner.work.cells import run_cell
from autosparse.runner.work.do import do
from autosparse.runner.work.fit import survivals_of
from autosparse.storage import lease
from autosparse.tracking.client import connect

pytestmark = [pytest.mark.usefixtures("ray_running"), pytest.mark.slow]

RECIPE = {"epochs": 1, "batch_size": 64}
PLAN = {
    "name": "objects",
    "irp": {"snip": {"model": "lenet-300-100", "dataset": "digits", "iterations": 3, "recipe": RECIPE}},
    "scorers": {"mine": {"irp": "snip", "backbone": "conditional-mean"}},
    "grid": a_grid(methods=["snip", {"criterion": "autos", "scorer": "mine"}], recipe=RECIPE),
}
OF_CHANCE = ("seconds", "seconds_score", "seconds_train", "trained_together")


@pytest.fixture
def settings_on_s3(settings, s3, monkeypatch):
    monkeypatch.setattr(lease, "SETTLED", 0.1)
    return replace(settings, storage=s3("objects"), workers=2)


def result_of(store, task):
    return {name: value for name, value in store.record(task)["result"].items() if name not in OF_CHANCE}


def test_a_run_on_s3_is_broken_off_resumed_and_checked_and_equals_one_in_a_folder(
    settings_on_s3, tmp_path, monkeypatch
):
    plan = plan_from(**PLAN)
    [irp], [scorer], cells = ([p.task for p in planned] for planned in (plan.irp, plan.scorers, plan.cells))
    store, digits = Store(settings_on_s3.storage), load_dataset("digits")

    def kill(numbers):
        if numbers["share"] == 1:
            raise Killed

    with pytest.raises(Killed):
        do(irp, store, digits, "cpu", kill)
    assert store.states(irp).newest().step == 2 * irp.recipe.epochs, "what was done is not done again"
    outcome = run_plan(plan, settings_on_s3, Screen())
    assert (outcome.done, outcome.failed) == (4, [])
    left = {name.partition("/")[0] for name in store.place.names(deep=True)}
    assert left == {".identity", "irp", "scorers", "cells"}, "no state, failure or lease"

    folder = Store(tmp_path / "folder")
    for task in (irp, scorer, *cells):
        if isinstance(task, Cell):
            result = run_cell(task, folder, digits, "cpu")
        else:
            result = do(task, folder, digits, "cpu", lambda numbers: None)
        folder.finish(task, result, store.record(task)["environment"])
        assert result_of(folder, task) == result_of(store, task)
        assert folder.record(task)["files"].keys() == store.record(task)["files"].keys()

    client = connect(settings_on_s3.tracking_uri)
    [run] = client.search_runs([client.get_experiment_by_name("objects").experiment_id], "tags.kind = 'scorer'")
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"sample.parquet", "scorer"}

    for name in (f"irp/{irp.id}/survival/part-00000.parquet", f"cells/{cells[0].id}.json"):
        store.place.write(name, store.place.read(name)[:-30])
    assert Store(settings_on_s3.storage).record(irp) is None, "also where this machine has seen the whole one"
    monkeypatch.setenv("AUTOSPARSE_CACHE", str(tmp_path / "another machine"))
    storage._bucket.cache_clear()
    elsewhere = Store(settings_on_s3.storage)
    assert elsewhere.root.is_relative_to(tmp_path)
    assert [p.task for p in unfinished(list(plan), elsewhere)] == [irp, cells[0]]
    with pytest.raises(CorruptFile, match=r"part-00000.parquet is truncated"):
        survivals_of([irp.id], elsewhere)
    predicted = [load_scorer(s.fetched("scorer", scorer.id)).network.state_dict() for s in (folder, elsewhere)]
    assert all(torch.equal(value, predicted[1][name]) for name, value in predicted[0].items())


@pytest.mark.parametrize("backbone", ["linear", "mlp"])
def test_a_sweep_on_s3_fits_scorers_that_are_the_same_as_in_a_folder(settings_on_s3, tmp_path, backbone):
    sweep = {"irp": "snip", "backbone": backbone, "points": [{}]}
    sweep |= {"epochs": 1} if backbone == "mlp" else {}
    plan = plan_from(name="swept", irp=PLAN["irp"], sweeps={"mine": sweep})
    assert run_plan(plan, settings_on_s3, Screen()).failed == []
    in_folder = replace(settings_on_s3, storage=str(tmp_path / "folder"))
    assert run_plan(plan, in_folder, Screen()).failed == []
    [task] = [planned.task for planned in plan.sweeps]
    stores = [Store(where.storage) for where in (settings_on_s3, in_folder)]
    best = [store.record(task)["result"]["best"] for store in stores]
    assert best[0]["value"] == best[1]["value"]
    here, there = (
        load_scorer(s.fetched("scorer", b["id"])).network.state_dict() for s, b in zip(stores, best, strict=True)
    )
    assert all(torch.equal(value, there[name]) for name, value in here.items())
