"""A cell that is killed in its training goes on from its last epoch, and its result is the same to the bit.

Unless its checkpoints are damaged, or of another network, other data or values: then they count for nothing.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from autosparse.criteria import CRITERIA
from autosparse.errors import NonFiniteLoss, Unreachable
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.models import build_model
from autosparse.runner.work import cell_states, cells
from autosparse.runner.work.cells import run_cells
from autosparse.runner.work.checkpoint_every import EVERY
from autosparse.storage.checkpoints import Checkpoints
from autosparse.training import Execution, Recipe

EPOCHS, KILLED_AFTER = 4, 2
RECIPE = Recipe(epochs=EPOCHS, lr=2e-3, batch_size=48, milestones=(1, 3), weight_decay=1e-2)
MOMENTUM = replace(RECIPE, optimizer="momentum", lr=0.02, augmentation="crop-flip")
TIMES = {"seconds", "seconds_score", "seconds_train", "trained_together", "resumed_from"}
COMPACT = Execution(compact="on")


class Killed(BaseException):
    """What a killed process does not catch."""


def cell(criterion="random", sparsity=0.8, seed=0, model="lenet-300-100", recipe=RECIPE, **changes):
    return Cell(
        model=model, dataset="digits", criterion=criterion, sparsity=sparsity, seed=seed, recipe=recipe, **changes
    )


RESIDUAL = "tests.runner.killed_nets:block"
EVERY_THREE = {"every": 3, "until": 0.9}
CELLS = {
    "dense": cell("dense", 0.0),
    "BatchNorm": cell("magnitude", 0.5, model=RESIDUAL, recipe=MOMENTUM),
    "compact": cell("snip", 0.98),
    "sparse layer": cell("random", 0.98),
    "rigl": cell("rigl", 0.9, options=EVERY_THREE),
    "gmp": cell("gmp", 0.9, options=EVERY_THREE),
    "set": cell("set", 0.9, options=EVERY_THREE),
    "rewound": cell("ltr", 0.8, options={"rounds": 1, "rewind": 0.4}),
    "fine-tuned": cell("magnitude-after-training", 0.8, options={"epochs": 3}),
    "sets weights": cell("3sp-reinit", 0.8),
    "reinit": cell("snip", 0.8, ablation="reinit"),
    "shuffle": cell("snip", 0.8, ablation="shuffle"),
}


def results(some, store, data, every=0.0, together=1, execution=COMPACT, **options):
    """Results in the order of the cells, without what a run's surroundings decide; and these."""
    packs = run_cells(some, store, data, "cpu", together, execution, checkpoint_every=every, **options)
    done = {cell.id: result for pack in packs for cell, result in pack}
    for result in done.values():
        if isinstance(result, Exception):
            raise result
    found = [done[cell.id] for cell in some]
    return (
        [{name: value for name, value in result.items() if name not in TIMES} for result in found],
        [{name: result[name] for name in TIMES & result.keys()} for result in found],
    )


def cut_off(some, store, data, share=KILLED_AFTER / EPOCHS, **options):
    """Have the work end, as if by a kill, as soon as this share of a training is done and kept."""

    def kill(running, done):
        if done is not None and done >= share:
            raise Killed

    with pytest.raises(Killed):
        results(some, store, data, on_progress=kill, **options)


@pytest.fixture
def trained(monkeypatch):
    """Has the network of each cell that is measured from now on, in that order."""
    networks, result = [], cells._result
    monkeypatch.setattr(cells, "_result", lambda p, *rest: networks.append(p.model.state_dict()) or result(p, *rest))
    return networks


@pytest.fixture
def epochs(monkeypatch):
    """Has the epoch of each accuracy that is measured from now on, in the order of the measurements."""
    counted, add = [], cells.History.add

    def counting(self, *given):
        add(self, *given)
        counted.append(len(self.test_accuracy))

    monkeypatch.setattr(cells.History, "add", counting)
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
    own = [epoch + first for epoch in epochs[-(last + first - reached) :]]
    assert own == list(range(reached + 1, last + first + 1))
    if kind not in ("rigl", "gmp", "set"):
        assert len(epochs) == len(own), "what the criterion trained is not trained again"


def test_the_compact_and_the_sparse_cell_are_of_these_kinds(tmp_path, tiny_digits):
    (compact,), _ = results([CELLS["compact"]], Store(tmp_path), tiny_digits)
    assert compact["flops_trained"] < 0.6 * compact["flops_dense"]


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("execution", [Execution(compact="off"), COMPACT], ids=["stacked", "some compact"])
def test_members_of_a_pack_go_on_however_they_are_packed_then(tmp_path, tiny_digits, together, execution):
    some = [cell("dense", 0.0), cell("random", 0.5, seed=1), cell("snip", 0.98, seed=2)]
    undisturbed, _ = results(some, Store(tmp_path / "apart"), tiny_digits, every=None, execution=execution)
    store = Store(tmp_path)
    cut_off(some, store, tiny_digits, together=3, execution=execution)
    assert store.steps() == {one.id: KILLED_AFTER for one in some}
    found, around = results(some, store, tiny_digits, together=together, execution=execution)
    assert found == undisturbed
    assert [one["resumed_from"] for one in around] == [[KILLED_AFTER]] * 3
    assert [one["trained_together"] for one in around] == {1: [1, 1, 1], 2: [2, 2, 1], 3: [3, 3, 3]}[together]


def test_of_a_pack_only_the_member_that_was_kept_goes_on(tmp_path, tiny_digits, epochs):
    some = [cell("random", 0.5, seed=seed) for seed in range(3)]
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
    store, some = Store(tmp_path), [cell("snip")]
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


def kept(store, own):
    """The content of the newest checkpoint of a cell, whatever it is of."""
    folder = store.root / "states" / own.id
    return json.loads(max(folder.glob("*.json")).read_text())["content"]


@pytest.mark.parametrize(("suffix", "resumed"), [(".safetensors", [1]), (".json", [1]), ("both", None)])
def test_a_damaged_checkpoint_counts_for_nothing_and_an_older_whole_one_is_used(tmp_path, tiny_digits, suffix, resumed):
    store, some = Store(tmp_path), [cell("snip")]
    undisturbed, _ = results(some, Store(tmp_path / "apart"), tiny_digits, every=None)
    cut_off(some, store, tiny_digits)
    files = sorted((tmp_path / "states" / some[0].id).iterdir())
    assert len(files) == 4
    for path in files:
        if suffix == "both" or path.name == f"{KILLED_AFTER:08d}{suffix}":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(bytes(data))
    found, [around] = results(some, store, tiny_digits)
    assert found == undisturbed
    assert around.get("resumed_from") == resumed


CHANGES = ["none", "data", "code", "criterion", "network", "way of computing", "version", "input"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_cell_goes_on_only_where_nothing_has_changed_that_its_result_depends_on(
    tmp_path, tiny_digits, monkeypatch, change
):
    store, some, data, execution = Store(tmp_path), [cell("snip")], tiny_digits, COMPACT
    cut_off(some, store, data)
    match change:
        case "data":
            swapped = replace(data.train, labels=9 - data.train.labels)
            data = replace(data, train=swapped, fingerprint="changed")
        case "code":
            monkeypatch.setattr(cell_states, "code_of", lambda task: {"model net:mine": "0" * 16})
        case "criterion":
            monkeypatch.setitem(CRITERIA._members, "snip", replace(CRITERIA["snip"], revision=9))
        case "network":
            monkeypatch.setattr(cell_states, "build_model", another)
            monkeypatch.setattr(cells, "build_model", another)
        case "way of computing":
            execution = Execution(compact="off")
        case "version":
            monkeypatch.setattr(cell_states, "__version__", "9.9")
        case "input":
            monkeypatch.setattr(Store, "built_on", lambda self, task: {"an irp run": "0" * 16})
    undisturbed, _ = results(some, Store(tmp_path / "apart"), data, every=None, execution=execution)
    found, [around] = results(some, store, data, execution=execution)
    assert found == undisturbed
    assert around.get("resumed_from") == ([KILLED_AFTER] if change == "none" else None)


def another(*given):
    model = build_model(*given)
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    return model


def test_masks_that_change_by_another_rule_since_begin_anew(tmp_path, tiny_digits, monkeypatch):
    store, some = Store(tmp_path), [CELLS["rigl"]]
    cut_off(some, store, tiny_digits)
    pruned = cells._pruned

    def otherwise(*given):
        found = pruned(*given)
        found.masks = found.masks.shuffled(1)
        return found

    monkeypatch.setattr(cells, "_pruned", otherwise)
    _, [around] = results(some, store, tiny_digits)
    assert "resumed_from" not in around


def test_what_a_criterion_found_is_kept_before_the_training(tmp_path, tiny_digits, monkeypatch):
    store, some = Store(tmp_path), [cell("lth", 0.8, options={"rounds": 2})]
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
    results([cell()], Store(tmp_path), tiny_digits, every=EVERY)
    assert saved == []
    monkeypatch.setattr(cell_states.time, "monotonic", lambda: now[0])
    store, long = Store(tmp_path / "long"), cell(recipe=replace(RECIPE, epochs=10))

    def pass_time(running, share):
        now[0] += 0 if share is None else 140

    results([long], store, tiny_digits, every=EVERY, on_progress=pass_time)
    assert saved == [4, 7], "after 420 and 840 seconds; the tenth epoch, after 1260, is the last"


def test_nothing_is_left_once_the_record_is_written_or_the_cell_has_failed(tmp_path, tiny_digits):
    store, own = Store(tmp_path), cell("snip")
    cut_off([own], store, tiny_digits)
    assert store.place.within("states").names(deep=True)
    (result,), _ = results([own], store, tiny_digits)
    store.finish(own, result, {})
    assert store.place.within("states").names(deep=True) == []
    assert not (tmp_path / "states" / own.id).exists()
    other = cell("snip", seed=5)
    cut_off([other], store, tiny_digits)
    store.fail(other, "planted", "", {})
    assert store.steps() == {}


def test_a_cell_that_diverges_begins_anew_when_it_is_tried_again(tmp_path, tiny_digits):
    wild = cell("random", recipe=replace(RECIPE, optimizer="sgd", lr=1e3, weight_decay=0.0, epochs=9))
    store = Store(tmp_path)
    with pytest.raises(NonFiniteLoss):
        results([wild], store, tiny_digits)
    assert store.steps() == {}


def test_a_storage_that_is_away_costs_the_checkpoint_and_not_the_cell(tmp_path, tiny_digits, monkeypatch, caplog):
    own = cell("snip")
    undisturbed, _ = results([own], Store(tmp_path / "apart"), tiny_digits, every=None)

    def away(self, *given):
        raise Unreachable("the store is away")

    monkeypatch.setattr(Checkpoints, "save", away)
    assert results([own], Store(tmp_path), tiny_digits)[0] == undisturbed
    assert {record.getMessage() for record in caplog.records} == {
        f"cell {own.id} goes on without a checkpoint of it: the store is away"
    }


def test_a_network_that_no_file_can_hold_is_trained_without_checkpoints(tmp_path, tiny_digits, caplog):
    own = cell("random", model="tests.runner.killed_nets:wave")
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

    own, digits = cell("snip", 0.98, recipe=replace(RECIPE, batch_size=256)), load_dataset("digits")
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), own.model_dump_json()], env=os.environ)
    assert ran.returncode == -9
    undisturbed, _ = results([own], Store(tmp_path / "apart"), digits, every=None, execution=None)
    found, [around] = results([own], Store(tmp_path), digits, execution=None)
    assert (found, around["resumed_from"]) == (undisturbed, [KILLED_AFTER])


def test_a_cell_goes_on_from_a_bucket_and_leaves_nothing_there(s3, tmp_path, tiny_digits):
    store, own = Store(s3("killed-cells")), cell("snip")
    undisturbed, _ = results([own], Store(tmp_path), tiny_digits, every=None)
    cut_off([own], store, tiny_digits)
    found, [around] = results([own], store, tiny_digits)
    assert (found, around["resumed_from"]) == (undisturbed, [KILLED_AFTER])
    store.finish(own, found[0], {})
    assert store.place.within("states").names(deep=True) == []
