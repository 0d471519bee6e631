"""Resolved specifications: what a record meant when it was written, whatever the defaults are today."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from old_records import write_old

import autosparse
from autosparse.criteria import CRITERIA
from autosparse.experiment.before_resolved import OPTIONS, filled
from autosparse.experiment.lineage import fingerprint
from autosparse.experiment.resolved import differences, resolve, resolved_of
from autosparse.experiment.space import Downstream, SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import changed_records, set_aside
from autosparse.experiment.tasks import Cell, FitSpec, IrpFields, IrpTask, ScorerTask
from autosparse.training import Recipe
from autosparse.weights import RULE

NETWORK = {"model": "lenet-300-100", "dataset": "digits"}


def cell_of(criterion="snip", **fields):
    return Cell(**NETWORK, criterion=criterion, sparsity=0.9, seed=0, **fields)


@pytest.fixture
def revised(monkeypatch):
    """Gives a criterion another revision, or other defaults of its options."""

    def revise(name, **changes):
        defaults = changes.pop("defaults", {})
        chosen = replace(CRITERIA[name], **changes)
        chosen.__dict__["defaults"] = CRITERIA[name].defaults | defaults
        monkeypatch.setitem(CRITERIA._members, name, chosen)

    return revise


def test_every_option_of_the_criterion_and_its_revision_are_resolved():
    found = resolve(cell_of("force", options={"rounds": 5}))
    assert found["options"]["rounds"] == 5
    assert resolve(cell_of("force"))["options"]["rounds"] == CRITERIA["force"].defaults["rounds"]
    assert found["criterion_revision"] == CRITERIA["force"].revision
    assert found["recipe"]["lr"] == Recipe.lr
    assert "criterion_revision" not in resolve(cell_of("dense"))


def test_what_the_runner_gives_a_criterion_is_not_among_its_options():
    assert not {"seed", "near", "scorer"} & resolve(cell_of("autos", scorer="ab"))["options"].keys()


def test_the_trunk_of_a_branch_is_resolved_too():
    trunk = IrpFields(**NETWORK, iterations=3, criterion="grasp")
    found = resolve(cell_of("irp", irp=trunk, level=2))["irp"]
    assert found["options"]["temperature"] == CRITERIA["grasp"].defaults["temperature"]
    assert found["criterion_revision"] == CRITERIA["grasp"].revision
    assert found["schedule"] == "geometric"


def test_the_settings_of_a_sweeps_winner_are_not_those_that_its_task_has_by_default():
    assert "fit" not in resolve(ScorerTask(sweep="ab"))
    assert "fit" not in filled("scorer", {"sweep": "ab"})


def test_a_default_that_changes_makes_an_old_record_another_tasks(store, revised):
    cell = cell_of("force")
    store.finish(cell, {"test_accuracy": 91.5}, {})
    revised("force", defaults={"rounds": 7})
    assert cell.id == cell_of("force").id, "the id stays"
    assert store.record(cell) is None
    assert store.finished([cell]) == set()
    (changed,) = changed_records([cell], store).values()
    assert [str(difference) for difference in changed.values] == ["options.rounds 60 -> 7"]


def test_a_value_that_is_given_does_not_change_with_its_default(store, revised):
    cell = cell_of("force", options={"rounds": 5})
    store.finish(cell, {}, {})
    revised("force", defaults={"rounds": 7})
    assert store.finished([cell]) == {cell.id}


def test_a_revision_that_changes_makes_old_records_of_that_criterion_another_tasks(store, revised):
    cells = [cell_of("snip"), cell_of("grasp")]
    trunk = IrpTask(**NETWORK)
    for task in (*cells, trunk):
        store.finish(task, {}, {})
    revised("snip", revision=2)
    assert store.finished([*cells, trunk]) == {cells[1].id}
    assert {str(d) for c in changed_records([*cells, trunk], store).values() for d in c.values} == {
        "criterion_revision 1 -> 2"
    }


def test_a_new_option_orphans_no_old_record(store, revised):
    old, new = cell_of("force"), cell_of("grasp")
    write_old(store, old, {})
    store.finish(new, {}, {})
    for name in ("force", "grasp"):
        revised(name, defaults={"novel": True})
    assert resolve(old)["options"]["novel"] is True
    assert store.finished([old, new]) == {old.id, new.id}


def test_a_record_of_version_0_1_0_means_what_it_meant_then(store, revised):
    cell = cell_of("force", recipe=Recipe(epochs=3))
    write_old(store, cell, {})
    record = store.written("cell", cell.id)
    revised("force", defaults={"rounds": 7})
    found = resolved_of(record)
    assert found["recipe"] == {
        "optimizer": "adam", "lr": 0.0012, "milestones": [60, 120], "drop": 0.2, "weight_decay": 0.0005,
        "epochs": 3, "batch_size": 128, "augmentation": "none",
    }  # fmt: skip
    assert (found["options"], found["criterion_revision"], found["score_examples"]) == (
        {"rounds": 60, "mode": "train"}, 1, 5120,
    )  # fmt: skip
    assert store.record(cell) is None


@pytest.mark.parametrize("task", [
    cell_of("dense"),
    cell_of("prospr", options={"lr": 0.2}),
    cell_of("irp", irp=IrpFields(**NETWORK, iterations=3), level=2),
    IrpTask(**NETWORK, criterion="grasp"),
    ScorerTask(irp=("ab",), fit=FitSpec(backbone="conditional-mean")),
    ScorerTask(sweep="ab"),
    SweepTask(irp=("ab",), points=({"lr": 0.1},), downstream=Downstream(**NETWORK, sparsity=0.5)),
], ids=lambda task: f"{task.kind} {getattr(task, 'criterion', '')}")  # fmt: skip
def test_the_frozen_table_has_every_value_that_a_task_of_version_0_1_0_had(task):
    told = {name: value for name, value in filled(task.kind, task.spec).items() if value is not None}
    for name, value in told.items():
        assert name in resolve(task), name
        if isinstance(value, dict) and name != "options":
            assert value.keys() <= resolve(task)[name].keys() | {"criterion_revision"}


def test_options_of_the_frozen_table_are_those_of_a_criterion():
    assert OPTIONS.keys() <= set(CRITERIA)


def test_differences_are_told_by_their_dotted_names():
    then = {"recipe": {"lr": 0.1, "gone": 1}, "asha": None, "same": [1, 2]}
    now = {"recipe": {"lr": 0.2, "novel": 2}, "asha": {"grace": 1}, "same": [1, 2]}
    found = [str(difference) for difference in differences(then, now)]
    assert found == ["recipe.lr 0.1 -> 0.2", "asha None -> {'grace': 1}"]


def test_a_failure_of_other_values_does_not_stop_the_task_of_today(store, revised):
    cell = cell_of("force")
    store.fail(cell, "NaN", "Traceback ...", {})
    assert store.failed([cell]) == {cell.id}
    revised("force", defaults={"rounds": 7})
    assert store.failed([cell]) == set()


def test_what_is_set_aside_is_kept_with_its_files(store):
    task = IrpTask(**NETWORK)
    folder = store.files_path("irp", task.id)
    folder.mkdir(parents=True)
    (folder / "part").write_text("survival")
    store.finish(task, {"accuracy": [1.0]}, {})
    before = store.record(task)
    set_aside(task, store)
    assert store.record(task) is None
    assert store.finished([task]) == set()
    assert not folder.exists()
    (kept,) = (store.root / "superseded" / "irp").glob("*.json")
    assert kept.stem == f"{task.id}-{before['ended_ms']}"
    assert (kept.with_suffix("") / "part").read_text() == "survival"


def test_what_is_set_aside_in_an_object_store_is_kept_with_its_files(s3):
    store, task = Store(s3("aside")), IrpTask(**NETWORK)
    store.prepare()
    folder = store.files_path("irp", task.id)
    folder.mkdir(parents=True)
    (folder / "part").write_text("survival")
    store.finish(task, {"accuracy": [1.0]}, {})
    name = f"irp/{task.id}-{store.record(task)['ended_ms']}"
    set_aside(task, store)
    assert store.finished([task]) == set()
    assert store.place.within("superseded").names(deep=True) == [f"{name}.json", f"{name}/part"]
    assert store.place.read(f"superseded/{name}/part") == b"survival"
    assert not (store.fetched("irp", task.id) / "part").exists()


def test_a_default_changed_in_the_source_is_told_of_and_relabels_no_result(tmp_path, empty_store):
    """Runs a copy of the package in which Recipe.lr has another default, as if somebody had edited it."""
    cell = cell_of("snip")
    Store(tmp_path / "results").finish(cell, {"test_accuracy": 91.5}, {})
    edited = tmp_path / "edited" / "autosparse"
    shutil.copytree(next(iter(autosparse.__path__)), edited, ignore=shutil.ignore_patterns("__pycache__"))
    recipe = edited / "training" / "recipe.py"
    before = recipe.read_text()
    assert "lr: Positive = 1.2e-3" in before
    recipe.write_text(before.replace("lr: Positive = 1.2e-3", "lr: Positive = 5.0e-2"))
    script = f"""
import autosparse
assert autosparse.__path__[0] == {str(edited)!r}, autosparse.__path__
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import changed_records
from autosparse.experiment.tasks import Cell
cell = Cell(model="lenet-300-100", dataset="digits", criterion="snip", sparsity=0.9, seed=0)
assert cell.id == {cell.id!r}
store = Store({str(tmp_path / "results")!r})
print(store.finished([cell]), *changed_records([cell], store)[cell.id].values)
"""
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(edited.parent), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.stdout == "set() recipe.lr 0.0012 -> 0.05\n", told.stderr


@pytest.mark.parametrize("old", [True, False])
def test_the_fingerprint_of_a_record_does_not_follow_todays_defaults(store, revised, old):
    cell = cell_of("force")
    write_old(store, cell, {}) if old else store.finish(cell, {}, {})
    before = fingerprint(store.written("cell", cell.id))
    revised("force", defaults={"rounds": 7, "novel": 1}, revision=3)
    assert fingerprint(store.written("cell", cell.id)) == before


LAYERS = {"plain": ["fc.weight"], "attention": ["head.weight", "layer.out_proj.weight", "layer.in_proj_weight"]}


@pytest.mark.parametrize("task", [cell_of("snip"), cell_of("dense"), IrpTask(**NETWORK)], ids=lambda task: task.id)
def test_old_records_of_networks_with_attention_lack_its_projections_and_are_another_tasks(store, task):
    write_old(store, task, {"density_by_layer": dict.fromkeys(LAYERS["attention"][:2], 0.5)})
    assert store.finished([task]) == set()
    (changed,) = changed_records([task], store).values()
    assert "prunable_rule 1 -> 2" in [str(difference) for difference in changed.values]


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_old_records_of_other_networks_stand(store, layers):
    cell = cell_of("random")
    write_old(store, cell, {"density_by_layer": dict.fromkeys(layers, 0.5)})
    assert store.finished([cell]) == {cell.id}


def test_a_new_record_says_by_which_rule_weights_were_prunable(store):
    cell = cell_of("random")
    store.finish(cell, {"density_by_layer": {"out_proj.weight": 0.5}}, {})  # a Linear of that name
    assert store.written("cell", cell.id)["resolved"]["prunable_rule"] == RULE
    assert store.finished([cell]) == {cell.id}
