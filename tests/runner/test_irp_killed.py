"""An IRP run whose process is killed goes on from its last iteration, and ends the same to the bit.

It begins anew if its initial network, a value, the code or the data are not what they were: a state of something else
counts for nothing.
"""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from builders import Killed
from torch import nn

from autosparse.criteria import CRITERIA
from autosparse.data import load_dataset
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.irp import load_survival, rewind
from autosparse.models import build_model
from autosparse.runner.work import irp as work
from autosparse.runner.work import irp_states
from autosparse.runner.work.irp import run_irp
from autosparse.training import Recipe

TASK = IrpTask(model="lenet-300-100", dataset="digits", iterations=6, recipe=Recipe(epochs=1))
KILLED_AFTER = 4
KILLED = f"""
import os, signal, sys, torch
torch.set_num_threads(1)
from autosparse.storage.checkpoints import Checkpoints
from autosparse.data import load_dataset
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.runner.work.irp import run_irp

save = Checkpoints.save
def save_and_die(self, step, tensors, content):
    save(self, step, tensors, content)
    if step == {KILLED_AFTER}:
        os.kill(os.getpid(), signal.SIGKILL)
Checkpoints.save = save_and_die
task = IrpTask.model_validate_json(sys.argv[2])
run_irp(task, Store(sys.argv[1]), load_dataset("digits"), "cpu", lambda numbers: None)
"""


def survival_of(store):
    return load_survival(store.files_path("irp", TASK.id) / "survival")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    return run_irp(TASK, store, load_dataset("digits"), "cpu", lambda numbers: None), survival_of(store)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The storage that the killed process left."""
    folder = tmp_path_factory.mktemp("killed")
    ran = subprocess.run([sys.executable, "-c", KILLED, str(folder), TASK.model_dump_json()], env=os.environ)
    assert ran.returncode == -9
    return folder


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(None, marks=pytest.mark.slow),
        "00000004.safetensors",
        pytest.param("00000004.json", marks=pytest.mark.slow),
    ],
)
def test_it_goes_on_from_the_newest_whole_state(killed, undisturbed, tmp_path, monkeypatch, damaged):
    states, trained = tmp_path / "states" / TASK.id, []
    states.mkdir(parents=True)
    for path in (killed / "states" / TASK.id).iterdir():
        (states / path.name).write_bytes(path.read_bytes()[: 100 if path.name == damaged else None])
    train = rewind.train
    monkeypatch.setattr(rewind, "train", lambda *given, **more: trained.append(1) or train(*given, **more))
    result = run_irp(TASK, Store(tmp_path), load_dataset("digits"), "cpu", lambda numbers: None)
    assert len(trained) == TASK.iterations - KILLED_AFTER + (damaged is not None)
    assert {**result, "seconds_earlier": 0.0} == undisturbed[0]
    assert result["seconds_earlier"] > 0
    here, there = survival_of(Store(tmp_path)), undisturbed[1]
    assert all(torch.equal(here.survived[name], there.survived[name]) for name in there.survived)


@pytest.fixture
def broken_off(tiny_digits, tmp_path):
    """A task of two iterations that was broken off after the first, and its storage."""
    task, store = TASK.model_copy(update={"iterations": 2}), Store(tmp_path)

    def break_off(numbers):
        if numbers["share"] == 1:
            raise Killed

    with pytest.raises(Killed):
        run_irp(task, store, tiny_digits, "cpu", break_off)
    assert store.states(task).newest().step == 1
    return task, store


@pytest.fixture
def trained(monkeypatch):
    """A list with an entry for each training from now on."""
    train, counted = rewind.train, []
    monkeypatch.setattr(rewind, "train", lambda *given, **more: counted.append(1) or train(*given, **more))
    return counted


@pytest.mark.parametrize("change", ["none", "last bits", "values", "shapes"])
def test_it_goes_on_only_with_the_network_that_it_began_with(broken_off, trained, tiny_digits, monkeypatch, change):
    def another(name, classes, shape, seed):
        other = build_model(name, classes, shape, seed)
        with torch.no_grad():
            for value in other.parameters():
                if change == "last bits":
                    value *= 1 + torch.finfo(value.dtype).eps
                if change == "values":
                    value += 1e-3 * torch.randn_like(value)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes)) if change == "shapes" else other

    monkeypatch.setattr(work, "build_model", another)
    run_irp(*broken_off, tiny_digits, "cpu", lambda numbers: None)
    assert len(trained) == (1 if change in ("none", "last bits") else 2)


def test_it_begins_anew_where_its_data_have_changed(broken_off, trained, tiny_digits):
    swapped = replace(tiny_digits.train, labels=9 - tiny_digits.train.labels)
    run_irp(*broken_off, replace(tiny_digits, train=swapped, fingerprint="changed"), "cpu", lambda numbers: None)
    assert len(trained) == 2


CHANGES = ["none", "default", "revision", "new option", "code", "data", "version 0.1.0"]


@pytest.mark.parametrize("change", CHANGES)
def test_it_goes_on_only_with_the_values_code_and_data_that_it_began_with(
    broken_off, trained, tiny_digits, monkeypatch, change
):
    task, store = broken_off
    kept = store.states(task).newest()
    chosen = replace(CRITERIA["snip"], revision=2 if change == "revision" else 1)
    given = {"default": {"reinit": None}, "new option": {"novel": 1}}.get(change, {})
    chosen.__dict__["defaults"] = CRITERIA["snip"].defaults | given
    monkeypatch.setitem(CRITERIA._members, "snip", chosen)
    if change == "code":
        monkeypatch.setattr(irp_states, "code_of", lambda task: {"model net:mine": "0" * 16})
    if change == "version 0.1.0":
        known = {name: kept.content[name] for name in ("accuracy", "dataset_fingerprint", "initial_network")}
        store.states(task).save(kept.step, kept.tensors, known)
    data = replace(tiny_digits, fingerprint="0" * 16) if change == "data" else tiny_digits
    run_irp(task, store, data, "cpu", lambda numbers: None)
    assert len(trained) == (1 if change in ("none", "new option") else 2), "0.1.0 took gradients in training mode"
