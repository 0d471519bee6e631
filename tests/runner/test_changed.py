"""Found results of other values, data or code: never passed off as today's, never lost. Real work, without Ray."""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import ENVIRONMENT, a_grid, plan_from
from PIL import Image

from autosparse.criteria import CRITERIA
from autosparse.data import DATASETS, load_dataset
from autosparse.errors import DataError
from autosparse.experiment.plan import dataset_of
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.plugins import load_plugins
from autosparse.results.best import best
from autosparse.results.runs import finished_runs
from autosparse.runner.driver import run
from autosparse.runner.driver.outcome import ready
from autosparse.runner.driver.run import run_plan
from autosparse.runner.driver.settle import superseded
from autosparse.runner.screen.console import Screen
from autosparse.runner.work.cells import run_cell
from autosparse.runner.work.do import do
from autosparse.tracking.client import connect

RECIPE = {"epochs": 1, "batch_size": 32}


def in_process(context, stages, settled):
    """Do what Ray's workers do, one task after the other."""
    store = context.store
    for planned in stages.values():
        wanted = [p for p in planned if p.task.id in settled.pending]
        settled.todo += superseded(context, wanted, settled.todo)
        for p in ready(run.unfinished(wanted, store), store, context.plan):
            dataset = settled.datasets.get(dataset_of(p.task))
            if isinstance(p.task, Cell):
                result = run_cell(p.task, store, dataset, "cpu")
            else:
                result = do(p.task, store, dataset, "cpu", lambda told: None)
            store.finish(p.task, result, ENVIRONMENT)
            context.tracker.log(p)


@pytest.fixture
def settings(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_do", in_process)
    return replace(settings, data_root=tmp_path)


def plan_of(dataset="parquet:dd", seeds=(0,), methods=("random",), model="lenet-300-100", scorer=False):
    content = {
        "name": "e",
        "grid": a_grid(
            models=[model], datasets=[dataset], methods=[*methods], sparsities=[0.5], seeds=[*seeds], recipe=RECIPE
        ),
    }
    if scorer:
        content["irp"] = {"run": {"model": model, "dataset": dataset, "iterations": 2, "recipe": RECIPE}}
        content["scorers"] = {"mine": {"irp": "run", "epochs": 1}}
        content["grid"]["methods"].append({"criterion": "autos", "scorer": "mine"})
        content["grid"]["methods"].append({"criterion": "irp", "irp": "run", "levels": [1]})
    return plan_from(**content)


def write_parquet(folder, labels):
    folder.mkdir(exist_ok=True)
    for split in ("train", "test"):
        rows = []
        for seed in range(len(labels)):
            buffer = io.BytesIO()
            Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4), dtype=np.uint8)).save(buffer, "PNG")
            rows.append({"bytes": buffer.getvalue(), "path": None})
        images = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        pq.write_table(pa.table({"image": images, "label": pa.array(labels)}), folder / f"{split}-0.parquet")


@pytest.fixture
def data(tmp_path):
    write_parquet(tmp_path / "dd", [i % 3 for i in range(12)])
    return tmp_path / "dd"


def scramble(data):
    write_parquet(data, [(i + 1) % 3 for i in range(12)])


def fingerprint_of(data):
    return load_dataset(f"parquet:{data}").fingerprint


def redoing(settings):
    return replace(settings, redo_changed=True)


def kept(settings):
    return sorted(path.parent.name for path in (settings.storage / "superseded").glob("*/*.json"))


@pytest.fixture
def revised(monkeypatch):
    def revise(name, **defaults):
        chosen = replace(CRITERIA[name])
        chosen.__dict__["defaults"] = CRITERIA[name].defaults | defaults
        monkeypatch.setitem(CRITERIA._members, name, chosen)

    return revise


def test_results_under_a_default_that_has_changed_are_done_again_and_told_of(settings, data, revised, capsys):
    plan = plan_of(methods=["force", "random"])
    run_plan(plan, settings, Screen())
    revised("force", rounds=7)
    outcome = run_plan(plan, settings, Screen())
    assert (outcome.found, outcome.done, outcome.failed) == (1, 1, [])
    told = capsys.readouterr().err
    assert "1 stored result used other values than today's (options.rounds 60 -> 7): it is done again" in told
    assert kept(settings) == ["cells"]
    runs = {run.tags["method"]: run for run in finished_runs(connect(settings.tracking_uri), "e", "cell")}
    assert len(runs) == 2
    assert runs["force"].params["options.rounds"] == "7"
    outcome = run_plan(plan, settings, Screen())
    assert (outcome.found, outcome.done) == (2, 0)


def test_what_builds_on_a_result_that_is_done_again_is_done_again_too(settings, data, revised, capsys):
    plan = plan_of(scorer=True)
    run_plan(plan, settings, Screen())
    revised("snip", reinit=True)
    outcome = run_plan(plan, settings, Screen())
    told = capsys.readouterr().err
    assert "2 stored results used other values than today's (options.reinit False -> True, irp.options.reinit" in told
    assert "2 build on what has changed" in told
    assert (outcome.found, outcome.done, outcome.failed) == (1, 4, []), "all but the random cell"
    assert kept(settings) == ["cells", "cells", "irp", "scorers"]
    assert run_plan(plan, settings, Screen()).found == 5


def test_a_scorer_does_not_pass_as_finished_where_its_irp_run_does_not(settings, data, revised):
    plan = plan_of(scorer=True)
    run_plan(plan, settings, Screen())
    revised("snip", reinit=True)
    store = Store(settings.storage)
    assert store.finished([p.task for p in plan]) == {plan.cells[0].task.id}
    assert store.record(plan.scorers[0].task) is None


def test_an_irp_run_that_is_made_again_as_it_was_leaves_what_is_built_on_it(settings, data):
    plan = plan_of(scorer=True)
    run_plan(plan, settings, Screen())
    Store(settings.storage).record_path(plan.irp[0].task).write_text("half a rec")
    outcome = run_plan(plan, settings, Screen())
    assert (outcome.found, outcome.done, outcome.failed) == (4, 1, [])


def test_data_that_changed_under_one_name_are_refused_with_both_fingerprints(settings, data):
    run_plan(plan_of(seeds=[0, 1]), settings, Screen())
    before = fingerprint_of(data)
    scramble(data)
    with pytest.raises(DataError) as refused:
        run_plan(plan_of(seeds=[0, 1, 2]), settings, Screen())
    told = str(refused.value)
    assert "dataset 'parquet:dd' has changed: 2 stored results used data with" in told
    assert before in told
    assert f"parquet:dd@{fingerprint_of(data)}" in told
    assert "--redo-changed" in told
    assert "\n" not in told
    (row,) = best(connect(settings.tracking_uri), "e")
    assert row["n"] == 2, "nothing new"


def test_results_of_data_that_changed_are_done_again_where_that_is_asked_for(settings, data):
    run_plan(plan_of(seeds=[0, 1], scorer=True), settings, Screen())
    scramble(data)
    outcome = run_plan(plan_of(seeds=[0, 1, 2], scorer=True), redoing(settings), Screen())
    assert (outcome.found, outcome.done, outcome.failed) == (0, 11, [])
    assert kept(settings) == ["cells"] * 6 + ["irp", "scorers"]
    runs = finished_runs(connect(settings.tracking_uri), "e", "cell")
    assert {run.tags["dataset_fingerprint"] for run in runs} == {fingerprint_of(data)}
    assert len(runs) == 9
    assert run_plan(plan_of(seeds=[0, 1, 2], scorer=True), settings, Screen()).found == 11


def test_a_name_with_the_version_keeps_results_apart_and_refuses_other_data(settings, data):
    run_plan(plan_of(), settings, Screen())
    before = fingerprint_of(data)
    scramble(data)
    after = fingerprint_of(data)
    pinned = plan_of(dataset=f"parquet:dd@{after[:8]}")
    assert run_plan(pinned, settings, Screen()).done == 1
    assert pinned.cells[0].task.id != plan_of().cells[0].task.id
    with pytest.raises(DataError, match=f"the data here have the fingerprint {after}, not {before}"):
        run_plan(plan_of(dataset=f"parquet:dd@{before}"), settings, Screen())


def test_data_that_changed_are_told_of_where_nothing_is_left_to_do(settings, data, capsys):
    run_plan(plan_of(), settings, Screen())
    scramble(data)
    outcome = run_plan(plan_of(), settings, Screen())
    assert (outcome.found, outcome.done) == (1, 0)
    assert "warning: dataset 'parquet:dd' has changed" in capsys.readouterr().err


def test_results_that_disagree_among_themselves_are_refused_without_their_data(settings, data):
    run_plan(plan_of(), settings, Screen())
    scramble(data)
    other = replace(settings, storage=settings.storage.with_name("other"))
    run_plan(plan_of(seeds=[1]), other, Screen())
    (record,) = (other.storage / "cells").glob("*.json")
    (settings.storage / "cells" / record.name).write_bytes(record.read_bytes())
    for file in data.iterdir():
        file.unlink()
    with pytest.raises(DataError, match="the stored results come from different data"):
        run_plan(plan_of(seeds=[0, 1]), settings, Screen())


def test_an_irp_run_of_other_data_is_refused_too(settings, data):
    run_plan(plan_of(scorer=True), settings, Screen(), only=["irp"])
    scramble(data)
    with pytest.raises(DataError, match="1 stored result used data"):
        run_plan(plan_of(scorer=True), settings, Screen())


MODEL = """
from torch import nn
from beside_of_mine import WIDTH

def net(num_classes, input_shape):
    '''A small one.'''
    return nn.Sequential(nn.Flatten(), nn.Linear(16, WIDTH), nn.ReLU(), nn.Linear(WIDTH, num_classes))
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's with a model, and one that it imports; fresh in each test."""
    import sys

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "net_of_mine.py").write_text(MODEL)
    (tmp_path / "beside_of_mine.py").write_text("WIDTH = 8\n")
    for name in ("net_of_mine", "beside_of_mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    for name in ("net_of_mine", "beside_of_mine"):
        sys.modules.pop(name, None)


CHANGES = {
    "the model": ("net_of_mine.py", MODEL.replace("nn.ReLU", "nn.Tanh")),
    "what it imports": ("beside_of_mine.py", "WIDTH = 9\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_of_the_users_that_changed_is_told_of_and_redone_where_asked_for(settings, data, mine, capsys, change):
    plan = plan_of(model="net_of_mine:net", seeds=[0, 1])
    run_plan(plan, settings, Screen())
    name, text = CHANGES[change]
    (mine / name).write_text(text)
    outcome = run_plan(plan, settings, Screen())
    told = capsys.readouterr().err
    assert (outcome.found, outcome.done) == (2, 0)
    assert f"warning: model 'net_of_mine:net' ({mine / 'net_of_mine.py'}), or what it imports, has changed" in told
    assert "since 2 results were stored" in told
    assert "--redo-changed" in told
    outcome = run_plan(plan, redoing(settings), Screen())
    assert (outcome.found, outcome.done, kept(settings)) == (0, 2, ["cells", "cells"])
    run_plan(plan, settings, Screen())
    assert "warning" not in capsys.readouterr().err


def test_comments_docstrings_and_formatting_of_a_model_do_not_count(settings, data, mine, capsys):
    plan = plan_of(model="net_of_mine:net")
    run_plan(plan, settings, Screen())
    text = MODEL.replace("'''A small one.'''", '"""A very small one."""  # really').replace("16, ", "16,\n        ")
    (mine / "net_of_mine.py").write_text(text + "\n# the end\n")
    run_plan(plan, settings, Screen())
    assert "warning" not in capsys.readouterr().err


PLUGIN = """
import torch
from autosparse.criteria import criterion
from autosparse.data import register_dataset
from autosparse.data.split import make_dataset
from autosparse.masks import prunable

@criterion("first-of-mine", paper="mine")
def first(model, batches, loss):
    return {name: weight.detach().abs() * 1 for name, weight in prunable(model).items()}

@register_dataset("data-of-mine")
def data(root, argument, download):
    images = torch.arange(12 * 16, dtype=torch.uint8).view(12, 1, 4, 4)
    split = images, torch.arange(12) % 3
    return make_dataset("data-of-mine", split, split)
"""


@pytest.mark.parametrize(("was", "now", "told"), [("* 1", "* 2", "criterion 'first-of-mine'"),
                                                  ("% 3", "% 4 % 3", "dataset 'data-of-mine'")])  # fmt: skip
def test_a_plugin_that_changed_is_told_of(settings, tmp_path, monkeypatch, capsys, was, now, told):
    import sys

    for registry in (CRITERIA, DATASETS):
        list(registry)
        monkeypatch.setattr(registry, "_members", dict(registry._members))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "plugin_of_mine", raising=False)
    (tmp_path / "plugin_of_mine.py").write_text(PLUGIN)
    load_plugins(["plugin_of_mine"])
    plan = plan_of(dataset="data-of-mine", methods=["first-of-mine"])
    run_plan(plan, settings, Screen())
    (tmp_path / "plugin_of_mine.py").write_text(PLUGIN.replace(was, now))
    outcome = run_plan(plan, settings, Screen())
    assert outcome.found == 1
    assert f"warning: {told} ({tmp_path / 'plugin_of_mine.py'})" in capsys.readouterr().err
    sys.modules.pop("plugin_of_mine")


def test_a_new_store_of_mlflow_shows_what_results_were_made_with(settings, data, revised, tmp_path):
    plan = plan_of(methods=["force"])
    run_plan(plan, settings, Screen())
    revised("force", rounds=60, novel=1)
    new = replace(settings, tracking_uri=f"sqlite:///{tmp_path / 'new.db'}")
    run_plan(plan, new, Screen())
    (found,) = finished_runs(connect(new.tracking_uri), "e", "cell")
    assert (found.params["options.rounds"], found.params["options.novel"]) == ("60", "1")


def test_only_the_grid_asked_for_leaves_what_builds_on_an_outdated_irp_run_where_it_is(settings, data, revised):
    plan = plan_of(scorer=True)
    run_plan(plan, settings, Screen())
    revised("snip", reinit=True)
    outcome = run_plan(plan, settings, Screen(), only=["grid"])
    assert outcome.failed == []
    told = "irp run, which is not done: run again without --only"
    assert [reason for _, reason in outcome.to_do] == [
        f"waits for scorer mine, which waits for {told}",
        f"waits for {told}",
    ]
    assert not (settings.storage / "superseded").exists()
