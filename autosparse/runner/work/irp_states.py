"""How far an IRP run has come: kept after each iteration, and now and then within one.

What is kept within an iteration is its training. A training counts only if it would go on as it began, to the last bit;
otherwise its iteration begins again.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import torch

from autosparse.data.split import Dataset
from autosparse.devices import DeviceLost
from autosparse.errors import AutosparseError, Unreachable, first_line
from autosparse.experiment.record import Json
from autosparse.experiment.resolved import differences, resolve, resolved_of
from autosparse.experiment.sources import code_of
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import IrpTask
from autosparse.irp import Reached
from autosparse.runner.work.network_sketch import alike, sketch_of
from autosparse.training import Execution, State
from autosparse.version import __version__
from autosparse.weights import prunable

logger = logging.getLogger(__name__)

TRAINING = "training"
"""The key of a training's content, and the first part of the names of its tensors."""


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
        """:param model: the initial network.
        :param every: least seconds between the checkpoints within an iteration; None: there are none.
        """
        self.task, self.every, self.model = task, every, model
        self.checkpoints = store.states(task)
        self.origin: Json = {"dataset_fingerprint": dataset.fingerprint, "initial_network": sketch_of(model)}
        self.origin |= {"kind": task.kind, "spec": task.spec, "resolved": resolve(task), "code": code_of(task)}
        device = dataset.train.device
        self.computed: Json = {"device": device.type, "precision": execution.precision_on(device)}
        self.computed |= {"compact": execution.compact, "versions": [__version__, str(torch.__version__)]}
        self.last: Reached | None = None
        self.kept_at = time.monotonic()

    def reached(self) -> Reached | None:
        """The state that an earlier process kept; None if its data, initial network, values or code were different."""
        found = self.checkpoints.newest()
        if found is None:
            return None
        then = {"kind": self.task.kind, "spec": self.origin["spec"], "code": {}, **found.content}  # 0.1.0 kept none
        counts = {name: tensor for name, tensor in found.tensors.items() if not name.startswith(f"{TRAINING}/")}
        same = (
            counts.keys() == set(prunable(self.model))
            and all(then.get(name) == self.origin[name] for name in ("dataset_fingerprint", "code"))
            and alike(then.get("initial_network", {}), self.origin["initial_network"])
            and not any(differences(resolved_of(then), self.origin["resolved"]))
        )
        if not same:
            return None
        self.last = Reached(counts, found.content["accuracy"])
        training = self._training(found.tensors, found.content.get(TRAINING))
        return Reached(counts, found.content["accuracy"], training)

    def keep(self, reached: Reached) -> None:
        """Keep the state after an iteration."""
        self._save(reached)
        self.last = Reached(reached.survived, reached.accuracy)

    def keep_within(self, epoch: int, take: Callable[[], Reached]) -> None:
        """Keep the state within an iteration, if it is time; a warning says so if that cannot be done.

        :raises CannotWrite: if the storage is full, or refuses to be written.
        """
        if self.every is None or time.monotonic() - self.kept_at < self.every:
            return
        try:
            self._save(take())
        except Exception as error:  # such as of a user's network that holds what no file of tensors can
            if isinstance(error, AutosparseError | DeviceLost) and not isinstance(error, Unreachable):
                raise
            reason = first_line(error)
            logger.warning("IRP run %s goes on without a checkpoint of epoch %d: %s", self.task.id, epoch, reason)
        self.kept_at = time.monotonic()

    def forget_training(self) -> None:
        """Let another try begin the iteration again: its training has gone wrong."""
        if self.last is None:
            self.checkpoints.clear()
        else:
            self._save(self.last)

    def _save(self, reached: Reached) -> None:
        content: Json = {"accuracy": reached.accuracy, **self.origin}
        tensors, step = dict(reached.survived), reached.iteration * self.task.recipe.epochs
        if (training := reached.training) is not None:
            tensors |= {f"{TRAINING}/{name}": tensor for name, tensor in training.tensors.items()}
            content[TRAINING] = {"epoch": training.epoch, "content": training.content, "computed": self.computed}
            step += training.epoch
        self.checkpoints.save(step, tensors, content)
        self.kept_at = time.monotonic()

    def _training(self, tensors: dict[str, torch.Tensor], kept: Any) -> State | None:
        if not kept or kept["computed"] != self.computed:
            return None
        part = f"{TRAINING}/"
        own = {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
        state = State(kept["epoch"], own, kept["content"])
        return state if state.fits(self.model) else None
