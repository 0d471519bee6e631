"""Which checkpoints of a killed cell count: whole ones, of the same network, data, values and code."""

from dataclasses import replace

import pytest
import torch

from autosparse.criteria import CRITERIA
from autosparse.experiment.store import Store
from autosparse.models import build_model
from autosparse.runner.work import cell_states, cells, checkpointing
from autosparse.training import Execution
from tests.runner.killed_cells import CELLS, COMPACT, KILLED_AFTER, cell_to_kill, cut_off, results


@pytest.mark.parametrize(("suffix", "resumed"), [(".safetensors", [1]), (".json", [1]), ("both", None)])
def test_a_damaged_checkpoint_counts_for_nothing_and_an_older_whole_one_is_used(tmp_path, tiny_digits, suffix, resumed):
    store, some = Store(tmp_path), [cell_to_kill("snip")]
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
    store, some, data, execution = Store(tmp_path), [cell_to_kill("snip")], tiny_digits, COMPACT
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
            monkeypatch.setattr(checkpointing, "__version__", "9.9")
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
        found.trainer.meant_for(found.masks)
        return found

    monkeypatch.setattr(cells, "_pruned", otherwise)
    _, [around] = results(some, store, tiny_digits)
    assert "resumed_from" not in around
