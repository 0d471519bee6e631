"""An IRP run that is killed within an iteration goes on from its last kept epoch, and ends the same to the bit."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from builders import Killed

from autosparse.data import load_dataset
from autosparse.errors import CannotWrite, NonFiniteLoss
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.irp import load_survival, rewind
from autosparse.runner.work import checkpointing, irp_states
from autosparse.runner.work.irp import run_irp
from autosparse.storage.checkpoints import Checkpoints
from autosparse.training import Execution, Recipe, history

RECIPE = Recipe(epochs=3, batch_size=64, optimizer="momentum", lr=0.02, augmentation="crop-flip")
TASK = IrpTask(model="lenet-300-100", dataset="digits", iterations=4, recipe=RECIPE)
KILLED = """
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
    if step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
Checkpoints.save = save_and_die
task = IrpTask.model_validate_json(sys.argv[2])
run_irp(task, Store(sys.argv[1]), load_dataset("digits"), "cpu", lambda numbers: None, checkpoint_every=0.0)
"""


def quiet(numbers):
    pass


def survival_of(store):
    return load_survival(store.files_path("irp", TASK.id) / "survival")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    return run_irp(TASK, store, load_dataset("digits"), "cpu", quiet), survival_of(store)


@pytest.fixture
def epochs(monkeypatch):
    """A list with an entry for each epoch that is trained from now on."""
    add, counted = history.History.add, []
    monkeypatch.setattr(history.History, "add", lambda *given: counted.append(1) or add(*given))
    return counted


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(1, id="first iteration", marks=pytest.mark.slow),
        pytest.param(5, id="second", marks=pytest.mark.slow),
        pytest.param(11, id="last, compact"),
    ],
)
def test_it_goes_on_from_the_epoch_and_ends_the_same(undisturbed, tmp_path, epochs, at):
    command = [sys.executable, "-c", KILLED, str(tmp_path), TASK.model_dump_json(), str(at)]
    assert subprocess.run(command, env=os.environ).returncode == -9
    store = Store(tmp_path)
    assert store.states(TASK).newest().step == at
    result = run_irp(TASK, store, load_dataset("digits"), "cpu", quiet)
    assert len(epochs) == TASK.iterations * RECIPE.epochs - at
    assert {**result, "seconds_earlier": 0.0} == undisturbed[0]
    here, there = survival_of(store), undisturbed[1]
    assert all(torch.equal(here.survived[name], there.survived[name]) for name in there.survived)


def broken_off(store, data, at, **how):
    """Do the run until the checkpoint after ``at`` epochs, at which it is broken off."""
    save = Checkpoints.save

    def break_off(self, step, tensors, content):
        save(self, step, tensors, content)
        if step == at:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", break_off)
        with pytest.raises(Killed):
            run_irp(TASK, store, data, "cpu", quiet, checkpoint_every=0.0, **how)


@pytest.mark.parametrize("change", ["none", "precision", "compact", "version"])
def test_a_training_that_would_go_on_otherwise_begins_its_iteration_again(
    tiny_digits, tmp_path, epochs, monkeypatch, change
):
    store = Store(tmp_path)
    broken_off(store, tiny_digits, at=5)
    epochs.clear()
    if change == "version":
        monkeypatch.setattr(checkpointing, "__version__", "another")
    given = {"precision": Execution(precision="bfloat16"), "compact": Execution(compact="off")}
    run_irp(TASK, store, tiny_digits, "cpu", quiet, given.get(change))
    assert len(epochs) == 12 - (5 if change == "none" else 3)


def test_it_begins_anew_where_its_data_have_changed(tiny_digits, tmp_path, epochs):
    store = Store(tmp_path)
    broken_off(store, tiny_digits, at=5)
    epochs.clear()
    run_irp(TASK, store, replace(tiny_digits, fingerprint="changed"), "cpu", quiet)
    assert len(epochs) == 12


def test_a_training_that_diverged_is_not_gone_on_with(tiny_digits, tmp_path, monkeypatch):
    store, train, iterations = Store(tmp_path), rewind.train, []

    def diverge(*given, **more):
        iterations.append(1)
        found = train(*given, **more)
        if len(iterations) == 2:
            raise NonFiniteLoss("it has diverged")
        return found

    monkeypatch.setattr(rewind, "train", diverge)
    with pytest.raises(NonFiniteLoss):
        run_irp(TASK, store, tiny_digits, "cpu", quiet, checkpoint_every=0.0)
    kept = store.states(TASK).newest()
    assert (kept.step, len(kept.content["accuracy"]), "training" in kept.content) == (3, 1, False)
    iterations[:] = [1]
    with pytest.raises(NonFiniteLoss):
        run_irp(TASK, Store(tmp_path / "first"), tiny_digits, "cpu", quiet, checkpoint_every=0.0)
    assert Store(tmp_path / "first").states(TASK).newest() is None


@pytest.mark.parametrize(
    ("every", "steps"), [(None, [3, 6, 9, 12]), (0.0, [*range(1, 13)]), (50.0, [2, 3, 5, 6, 8, 9, 11, 12])]
)
def test_a_state_is_kept_after_each_iteration_and_within_one_if_it_is_time(
    tiny_digits, tmp_path, monkeypatch, every, steps
):
    save, add, kept, now = Checkpoints.save, history.History.add, [], [0.0]

    def after_half_a_minute(*given):
        now[0] += 30.0
        add(*given)

    monkeypatch.setattr(irp_states.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(history.History, "add", after_half_a_minute)
    monkeypatch.setattr(Checkpoints, "save", lambda self, step, *more: kept.append(step) or save(self, step, *more))
    run_irp(TASK, Store(tmp_path), tiny_digits, "cpu", quiet, checkpoint_every=every)
    assert kept == steps


@pytest.mark.parametrize("error", [ValueError("a tensor of another kind"), CannotWrite("the disk is full")])
def test_a_state_that_cannot_be_kept_costs_only_the_checkpoint_unless_the_storage_is_full(
    tiny_digits, tmp_path, monkeypatch, caplog, error
):
    save = Checkpoints.save

    def fail(self, step, tensors, content):
        if "training" in content:
            raise error
        save(self, step, tensors, content)

    monkeypatch.setattr(Checkpoints, "save", fail)
    if isinstance(error, CannotWrite):
        with pytest.raises(CannotWrite):
            run_irp(TASK, Store(tmp_path), tiny_digits, "cpu", quiet, checkpoint_every=0.0)
    else:
        run_irp(TASK, Store(tmp_path), tiny_digits, "cpu", quiet, checkpoint_every=0.0)
        assert f"IRP run {TASK.id} goes on without a checkpoint of epoch 1: a tensor of another kind" in caplog.text
