"""A cell that is killed in its training goes on from its last epoch, and its result is the same to the bit."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from builders import Killed

from autosparse.errors import NonFiniteLoss, Unreachable
from autosparse.experiment.store import Store
from autosparse.runner.settings import CHECKPOINT_EVERY
from autosparse.runner.work import cell_states, cells, train_cells
from autosparse.storage.checkpoints import Checkpoints
from autosparse.training import Execution, History
from tests.runner.killed_cells import (
    CELLS,
    COMPACT,
    EPOCHS,
    KILLED_AFTER,
    RECIPE,
    cell_to_kill,
    cut_off,
    results,
)


@pytest.fixture
def trained(monkeypatch):
    """The network of each cell that is measured from now on, in the order of the measurements."""
    networks, result = [], train_cells._result

    def noted(pruned, *rest):
        networks.append(pruned.model.state_dict())
        return result(pruned, *rest)

    monkeypatch.setattr(train_cells, "_result", noted)
    return networks


@pytest.fixture
def epochs(monkeypatch):
    """The epoch of each accuracy that is measured from now on, in the order of the measurements."""
    counted, add = [], History.add

    def counting(self, *given):
        add(self, *given)
        counted.append(len(self.test_accuracy))

    monkeypatch.setattr(History, "add", counting)
    return counted


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_goes_on_from_its_last_epoch_and_ends_the_same(tmp_path, tiny_digits, epochs, trained, kind):
    some, store = [CELLS[kind]], Store(tmp_path)
    undisturbed, _ = results(some, Store(tmp_path / "apart"), tiny_digits, every=None)
    last = len(undisturbed[0]["history"]["test_accuracy"])
    cut_off(some, store, tiny_digits, share=0.7 if kind == "rewound" else 0.5)
    reached = store.steps()[some[0].id]
    assert reached >= 2
    epochs.clear()
    found, [around] = results(some, store, tiny_digits)
    assert found == undisturbed
    one, other = trained
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert around["resumed_from"] == [reached]
    first = EPOCHS - last if kind == "rewound" else 0  # the epochs before are those of the criterion
    trained_here = [epoch + first for epoch in epochs[-(last + first - reached) :]]
    assert trained_here == list(range(reached + 1, last + first + 1))
    if kind not in ("rigl", "gmp", "set"):
        assert len(epochs) == len(trained_here), "what the criterion trained is not trained again"


def test_the_compact_and_the_sparse_cell_are_of_these_kinds(tmp_path, tiny_digits):
    (compact,), _ = results([CELLS["compact"]], Store(tmp_path), tiny_digits)
    assert compact["flops_trained"] < 0.6 * compact["flops_dense"]
    (sparse,), _ = results([CELLS["sparse layer"]], Store(tmp_path), tiny_digits)
    assert sparse["flops_trained"] < 0.2 * sparse["flops_dense"], "a dense first layer alone would be .6"


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("execution", [Execution(compact="off"), COMPACT], ids=["stacked", "some compact"])
def test_members_of_a_pack_go_on_however_they_are_packed_then(tmp_path, tiny_digits, together, execution):
    some = [cell_to_kill("dense", 0.0), cell_to_kill("random", 0.5, seed=1), cell_to_kill("snip", 0.98, seed=2)]
    undisturbed, _ = results(some, Store(tmp_path / "apart"), tiny_digits, every=None, execution=execution)
    store = Store(tmp_path)
    cut_off(some, store, tiny_digits, together=3, execution=execution)
    assert store.steps() == {one.id: KILLED_AFTER for one in some}
    found, around = results(some, store, tiny_digits, together=together, execution=execution)
    assert found == undisturbed
    assert [one["resumed_from"] for one in around] == [[KILLED_AFTER]] * 3
    assert [one["trained_together"] for one in around] == {1: [1, 1, 1], 2: [2, 2, 1], 3: [3, 3, 3]}[together]


def test_of_a_pack_only_the_member_that_was_kept_goes_on(tmp_path, tiny_digits, epochs):
    some = [cell_to_kill("random", 0.5, seed=seed) for seed in range(3)]
    undisturbed, _ = results(some, Store(tmp_path / "apart"), tiny_digits, every=None)
    store = Store(tmp_path)
    cut_off(some[1:2], store, tiny_digits)
    epochs.clear()
    found, around = results(some, store, tiny_digits, together=3)
    assert found == undisturbed
    assert ["resumed_from" in one for one in around] == [False, True, False]
    assert [one["trained_together"] for one in around] == [2, 1, 2]
    assert len(epochs) == 2 * EPOCHS + EPOCHS - KILLED_AFTER


def test_a_cell_that_is_killed_twice_goes_on_twice_and_adds_up_its_seconds(tmp_path, tiny_digits):
    store, some = Store(tmp_path), [cell_to_kill("snip")]
    undisturbed, _ = results(some, Store(tmp_path / "apart"), tiny_digits, every=None)
    cut_off(some, store, tiny_digits, share=1 / EPOCHS)
    first = kept(store, some[0])
    cut_off(some, store, tiny_digits, share=3 / EPOCHS)
    second = kept(store, some[0])
    found, [around] = results(some, store, tiny_digits)
    assert found == undisturbed
    assert around["resumed_from"] == [1, 3]
    assert 0 < first["seconds_train"] < second["seconds_train"] < around["seconds_train"]
    assert first["seconds_score"] == second["seconds_score"] == around["seconds_score"] > 0
    assert around["seconds"] == around["seconds_score"] + around["seconds_train"]


def kept(store, unfinished):
    """The content of the newest checkpoint of a cell, whichever stage of the work it was written in."""
    folder = store.root / "states" / unfinished.id
    return json.loads(max(folder.glob("*.json")).read_text())["content"]


def test_what_a_criterion_found_is_kept_before_the_training(tmp_path, tiny_digits, monkeypatch):
    store, some = Store(tmp_path), [cell_to_kill("lth", 0.8, options={"rounds": 2})]
    undisturbed, _ = results(some, Store(tmp_path / "apart"), tiny_digits, every=None)

    def killed(*given, **options):
        raise Killed

    with monkeypatch.context() as during:
        during.setattr(cells.Trainer, "finish", killed)
        with pytest.raises(Killed):
            results(some, store, tiny_digits)
    monkeypatch.setattr(cells, "_pruned", killed)
    found, [around] = results(some, store, tiny_digits)
    assert found == undisturbed
    assert around["resumed_from"] == [0]


def test_a_short_cell_writes_no_checkpoint_and_one_that_takes_long_does(tmp_path, tiny_digits, monkeypatch):
    saved, now, save = [], [1000.0], Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, step, *rest: saved.append(step) or save(self, step, *rest))
    results([cell_to_kill()], Store(tmp_path), tiny_digits, every=CHECKPOINT_EVERY)
    assert saved == []
    monkeypatch.setattr(cell_states.time, "monotonic", lambda: now[0])
    store, long = Store(tmp_path / "long"), cell_to_kill(recipe=replace(RECIPE, epochs=10))

    def pass_time(running, share):
        now[0] += 0 if share is None else 140

    results([long], store, tiny_digits, every=CHECKPOINT_EVERY, on_progress=pass_time)
    assert saved == [4, 7], "after 420 and 840 seconds; the tenth epoch, after 1260, is the last"


def test_nothing_is_left_once_the_record_is_written_or_the_cell_has_failed(tmp_path, tiny_digits):
    store, some = Store(tmp_path), cell_to_kill("snip")
    cut_off([some], store, tiny_digits)
    assert store.place.within("states").names(deep=True)
    (result,), _ = results([some], store, tiny_digits)
    store.finish(some, result, {})
    assert store.place.within("states").names(deep=True) == []
    assert not (tmp_path / "states" / some.id).exists()
    other = cell_to_kill("snip", seed=5)
    cut_off([other], store, tiny_digits)
    store.fail(other, "planted", "", {})
    assert store.steps() == {}


def test_a_cell_that_diverges_begins_anew_when_it_is_tried_again(tmp_path, tiny_digits):
    wild = cell_to_kill("random", recipe=replace(RECIPE, optimizer="sgd", lr=1e3, weight_decay=0.0, epochs=9))
    store = Store(tmp_path)
    with pytest.raises(NonFiniteLoss):
        results([wild], store, tiny_digits)
    assert store.steps() == {}


def test_a_storage_that_is_away_costs_the_checkpoint_and_not_the_cell(tmp_path, tiny_digits, monkeypatch, caplog):
    own = cell_to_kill("snip")
    undisturbed, _ = results([own], Store(tmp_path / "apart"), tiny_digits, every=None)

    def away(self, *given):
        raise Unreachable("the store is away")

    monkeypatch.setattr(Checkpoints, "save", away)
    assert results([own], Store(tmp_path), tiny_digits)[0] == undisturbed
    assert {record.getMessage() for record in caplog.records} == {
        f"cell {own.id} goes on without a checkpoint of it: the store is away"
    }


def test_a_network_that_no_file_can_hold_is_trained_without_checkpoints(tmp_path, tiny_digits, caplog):
    own = cell_to_kill("random", model="tests.runner.killed_nets:wave")
    results([own], Store(tmp_path), tiny_digits)
    assert "goes on without a checkpoint" in caplog.text
    assert Store(tmp_path).steps() == {}


KILLED = f"""
import os, signal, sys, torch
torch.set_num_threads(1)
from autosparse.data import load_dataset
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.runner.work.cells import run_cells

def kill(running, share):
    if share and share >= {KILLED_AFTER / EPOCHS}:
        os.kill(os.getpid(), signal.SIGKILL)

cell = Cell.model_validate_json(sys.argv[2])
list(run_cells([cell], Store(sys.argv[1]), load_dataset("digits"), "cpu", on_progress=kill, checkpoint_every=0.0))
"""


def test_a_cell_whose_process_is_killed_goes_on_in_another(tmp_path):
    from autosparse.data import load_dataset

    own, digits = cell_to_kill("snip", 0.98, recipe=replace(RECIPE, batch_size=256)), load_dataset("digits")
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), own.model_dump_json()], env=os.environ)
    assert ran.returncode == -9
    undisturbed, _ = results([own], Store(tmp_path / "apart"), digits, every=None, execution=None)
    found, [around] = results([own], Store(tmp_path), digits, execution=None)
    assert (found, around["resumed_from"]) == (undisturbed, [KILLED_AFTER])


def test_a_cell_goes_on_from_a_bucket_and_leaves_nothing_there(s3, tmp_path, tiny_digits):
    store, own = Store(s3("killed-cells")), cell_to_kill("snip")
    undisturbed, _ = results([own], Store(tmp_path), tiny_digits, every=None)
    cut_off([own], store, tiny_digits)
    found, [around] = results([own], store, tiny_digits)
    assert (found, around["resumed_from"]) == (undisturbed, [KILLED_AFTER])
    store.finish(own, found[0], {})
    assert store.place.within("states").names(deep=True) == []
