"""How far a training has come: all that it needs to go on from the end of an epoch, to the bit.

It needs no state of generators: data order, augmentation, dropout and the growth of masks are drawn anew from (seed,
purpose, epoch or step).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.masks import Masks
from autosparse.training.changing import MaskHistory
from autosparse.training.history import History
from autosparse.training.optimizer_state import on_host

MODEL, OPTIMIZER, REST, LAST, EVER = "model", "optimizer", "rest", "last", "ever"
"""Parts of :attr:`State.tensors`: see there."""


@dataclass(frozen=True)
class State:
    """The state of a training at the end of an epoch, on the host."""

    epoch: int
    """The epoch that has ended, from 1; 0: the first one is still ahead."""
    tensors: dict[str, Tensor]
    """By part and name, such as ``model/fc1.weight``.

    The parts are the whole network (``model``), what the optimiser remembers of the network that it trains
    (``optimizer``), and what it remembers of the weights that a compact network lacks (``rest``). If the masks change
    in training, ``last`` and ``ever`` are those of :class:`MaskHistory`.
    """
    content: dict[str, Any]
    """The history as JSON values."""

    @classmethod
    def now(
        cls,
        epoch: int,
        model: nn.Module,
        history: History,
        optimizer: Mapping[str, Tensor],
        rest: Mapping[str, Tensor] | None = None,
    ) -> "State":
        """The present state of the training of ``model``.

        :param optimizer: what its optimiser remembers, see :func:`autosparse.training.optimizer_state.taken`.
        :param rest: the same for the weights that its compact network lacks.
        """
        parts: dict[str, Mapping[str, Tensor]] = {MODEL: _values(model), OPTIMIZER: optimizer, REST: rest or {}}
        content: dict[str, Any] = {"train_loss": list(history.train_loss), "test_accuracy": list(history.test_accuracy)}
        if history.masks is not None:
            parts |= {LAST: history.masks.last, EVER: history.masks.ever}
            content |= {"masks_changed": history.masks.record(), "kept": list(history.kept)}
        tensors = {
            f"{part}/{name}": on_host(value) if part in (MODEL, LAST, EVER) else value
            for part, values in parts.items()
            for name, value in values.items()
        }
        return cls(epoch, tensors, content)

    @classmethod
    def before(cls, model: nn.Module) -> "State":
        """The state of a training that has not begun."""
        return cls.now(0, model, History(), {})

    @property
    def changes_masks(self) -> bool:
        """Whether the masks change in the training."""
        return "masks_changed" in self.content

    def part(self, part: str) -> dict[str, Tensor]:
        """The tensors of one part, by their names in it."""
        found = [(key.partition("/"), value) for key, value in self.tensors.items()]
        return {name: value for (first, _, name), value in found if first == part}

    def fits(self, model: nn.Module) -> bool:
        """Whether ``model`` has parameters and buffers of the same names, shapes and types as this state."""
        then, now = self.part(MODEL), _values(model)
        return {n: (v.shape, v.dtype) for n, v in then.items()} == {n: (v.shape, v.dtype) for n, v in now.items()}

    @torch.no_grad()
    def put(self, model: nn.Module) -> None:
        """Set the parameters and buffers of the network."""
        values = self.part(MODEL)
        for name, value in _values(model).items():
            value.copy_(values[name])

    def history(self, first: Masks | None) -> History:
        """The history so far.

        :param first: the masks that the training began with, if they change on its way.
        """
        found = History(list(self.content["train_loss"]), list(self.content["test_accuracy"]))
        if first is not None and self.changes_masks:
            device = next(iter(first.values())).device
            last, ever = self.part(LAST), self.part(EVER)
            found.masks = MaskHistory(
                first,
                Masks({name: last[name].to(device) for name in first}, first.left_out),
                {name: ever[name].to(device, copy=True) for name in first},
                **{name: list(values) for name, values in self.content["masks_changed"].items()},
            )
            found.kept = list(self.content.get("kept", [-1] * self.epoch))  # an older version did not note them
        return found


Take = Callable[[], State]
"""Returns the state of a training as it is now; to be called before the training goes on."""


def _values(model: nn.Module) -> dict[str, Tensor]:
    return dict([*model.named_parameters(), *model.named_buffers()])
