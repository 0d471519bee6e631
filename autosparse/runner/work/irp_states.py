"""How far an IRP run has come: kept after each iteration, and now and then within one.

What is kept within an iteration is its training. A training counts only if it would go on as it began, to the last bit;
otherwise its iteration begins again.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from autosparse.data.split import Dataset
from autosparse.experiment.record import Json
from autosparse.experiment.resolved import differences, resolve, resolved_of
from autosparse.experiment.sources import code_of
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.irp import Reached
from autosparse.runner.work.checkpointing import at_most_a_warning, computed_with
from autosparse.runner.work.network_sketch import alike, sketch_of
from autosparse.training import Execution, State
from autosparse.weights import prunable

PART = "training/"
"""The first part of the names of a training's tensors."""


class IrpStates:
    """The checkpoints of one IRP run; their steps count its epochs. Earlier versions counted iterations."""

    def __init__(
        self,
        task: IrpTask,
        store: Store,
        dataset: Dataset,
        model: torch.nn.Module,
        execution: Execution,
        every: float | None,
    ):
        """Begin to count the seconds of this process; ``earlier`` are those of the ones before.

        :param model: the initial network.
        :param every: least seconds between the checkpoints within an iteration; None: there are none.
        """
        self.task, self.every, self.model = task, every, model
        self.checkpoints = store.states(task)
        self.origin: Json = {"dataset_fingerprint": dataset.fingerprint, "initial_network": sketch_of(model)}
        self.origin |= {"kind": task.kind, "spec": task.spec, "resolved": resolve(task), "code": code_of(task)}
        self.computed = computed_with(dataset.train.device, execution)
        self.last: Reached | None = None
        self.kept_at = time.monotonic()
        self.started, self.earlier = time.perf_counter(), 0.0

    def reached(self) -> Reached | None:
        """The state that an earlier process kept; None if its data, initial network, values or code were different."""
        found = self.checkpoints.newest()
        if found is None:
            return None
        then = {"kind": self.task.kind, "spec": self.origin["spec"], "code": {}, **found.content}  # 0.1.0 kept none
        training = {name.removeprefix(PART): it for name, it in found.tensors.items() if name.startswith(PART)}
        counts = {name: it for name, it in found.tensors.items() if not name.startswith(PART)}
        same = (
            counts.keys() == set(prunable(self.model))
            and all(then.get(name) == self.origin[name] for name in ("dataset_fingerprint", "code"))
            and alike(then.get("initial_network", {}), self.origin["initial_network"])
            and not any(differences(resolved_of(then), self.origin["resolved"]))
        )
        if not same:
            return None
        self.last = Reached(counts, found.content["accuracy"])
        self.earlier = found.content.get("seconds", 0.0)
        return replace(self.last, training=self._training(training, found.content.get("training")))

    def keep(self, reached: Reached) -> None:
        """Keep the state after an iteration."""
        self._save(reached)
        self.last = Reached(reached.survived, reached.accuracy)

    def keep_within(self, epoch: int, take: Callable[[], Reached]) -> None:
        """Keep the state within an iteration if a checkpoint is due; if that fails, only warn.

        :raises CannotWrite: if the storage is full, or refuses to be written.
        """
        if self.every is None or time.monotonic() - self.kept_at < self.every:
            return
        with at_most_a_warning(f"IRP run {self.task.id} goes on without a checkpoint of epoch {epoch}"):
            self._save(take())
        self.kept_at = time.monotonic()

    def forget_training(self) -> None:
        """Let another try begin the iteration again: its training has gone wrong."""
        if self.last is None:
            self.checkpoints.clear()
        else:
            self._save(self.last)

    def _save(self, reached: Reached) -> None:
        seconds = self.earlier + time.perf_counter() - self.started
        content: Json = {"accuracy": reached.accuracy, "seconds": seconds, **self.origin}
        tensors, step = dict(reached.survived), reached.iteration * self.task.recipe.epochs
        if (training := reached.training) is not None:
            tensors |= {PART + name: tensor for name, tensor in training.tensors.items()}
            content["training"] = {"epoch": training.epoch, "content": training.content, "computed": self.computed}
            step += training.epoch
        self.checkpoints.save(step, tensors, content)
        self.kept_at = time.monotonic()

    def _training(self, tensors: dict[str, torch.Tensor], kept: Any) -> State | None:
        if not kept or kept["computed"] != self.computed:
            return None
        state = State(kept["epoch"], tensors, kept["content"])
        return state if state.fits(self.model) else None
