"""What records were built on: a result stands only if its inputs are what they were."""

from old_records import write_old

from autosparse.experiment.lineage import fingerprint
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, IrpFields, IrpTask, ScorerTask

NETWORK = {"model": "lenet-300-100", "dataset": "digits"}
AS_THEN = {**NETWORK, "criterion": "magnitude", "gradient_mode": "train"}
"""What version 0.1.0 did in the same way as today."""
IRP = IrpTask(**AS_THEN)
SCORER = ScorerTask(irp=(IRP.id,))
CELL = Cell(**NETWORK, criterion="autos", scorer=SCORER.id, sparsity=0.9, seed=0)
SWEEP = SweepTask(irp=(IRP.id,), points=({"lr": 0.1},))
WINNER = ScorerTask(sweep=SWEEP.id)
BRANCH = Cell(**NETWORK, criterion="irp", irp=IrpFields(**AS_THEN), level=2, sparsity=0.5, seed=0)
ALL = (IRP, SCORER, CELL, SWEEP, WINNER, BRANCH)


def finish(store, task, data="aa"):
    store.files_path(task.kind, task.id).mkdir(parents=True, exist_ok=True)
    store.finish(task, {"dataset_fingerprint": data} if task.kind in ("irp", "cell") else {}, {})


def test_a_record_has_the_fingerprints_of_what_it_was_built_on(store):
    for task in ALL:
        finish(store, task)
    for task, inputs in ((SCORER, [IRP]), (CELL, [SCORER]), (SWEEP, [IRP]), (WINNER, [SWEEP]), (BRANCH, [IRP])):
        built_on = {own.id: fingerprint(store.written(own.kind, own.id)) for own in inputs}
        assert store.record(task)["built_on"] == built_on
    assert store.record(IRP)["built_on"] == {}


def test_what_is_built_on_a_result_that_came_out_of_other_data_does_not_stand_nor_does_what_is_built_on_that(store):
    for task in ALL:
        finish(store, task)
    finish(store, IRP, data="bb")
    assert store.finished(ALL) == {IRP.id}
    finish(store, SCORER)
    assert store.finished(ALL) == {IRP.id, SCORER.id}, "the cell was pruned by the scorer before it"


def test_what_is_built_on_a_result_that_came_out_the_same_stands(store):
    for task in ALL:
        finish(store, task)
    finish(store, IRP)
    assert store.finished(ALL) == {task.id for task in ALL}


def test_what_is_built_on_a_result_that_is_gone_stands(store):
    for task in ALL:
        finish(store, task)
    store.record_path(IRP).unlink()
    assert store.finished(ALL) == {task.id for task in ALL[1:]}


def test_records_of_version_0_1_0_stand_on_each_other_and_on_nothing_newer(store):
    for task in ALL:
        store.files_path(task.kind, task.id).mkdir(parents=True, exist_ok=True)
        write_old(store, task, {"dataset_fingerprint": "aa"})
    assert store.finished(ALL) == {task.id for task in ALL}
    finish(store, IRP)
    assert store.finished(ALL) == {IRP.id}


def test_a_new_record_stands_on_one_of_version_0_1_0(store):
    store.files_path(IRP.kind, IRP.id).mkdir(parents=True)
    write_old(store, IRP, {"dataset_fingerprint": "aa"})
    finish(store, SCORER)
    assert store.finished([IRP, SCORER]) == {IRP.id, SCORER.id}


def test_records_in_an_object_store_are_looked_at_anew_where_their_inputs_are(s3):
    store, other = Store(s3("lineage")), Store(s3("lineage"))
    store.prepare()
    for task in (IRP, SCORER):
        folder = store.files_path(task.kind, task.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "part").write_text("1")
        store.finish(task, {"dataset_fingerprint": "aa"}, {})
    assert store.finished([IRP, SCORER]) == {IRP.id, SCORER.id}
    other.finish(IRP, {"dataset_fingerprint": "bb"}, {})
    assert store.finished([IRP, SCORER]) == {IRP.id}
