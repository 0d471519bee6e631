"""Masks that change while a network trains, and what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.errors import NonFiniteLoss
from autosparse.mask_change import Change
from autosparse.masks import Masks, prunable
from autosparse.training.graphs import Step


@dataclass
class MaskHistory:
    """The masks of a training that changes them: the first ones, the present ones, and each change between."""

    first: Masks
    last: Masks
    ever: dict[str, Tensor] = field(default_factory=dict)
    """True for each weight that has been kept at some step; bool tensors by the names of the masks."""
    steps: list[int] = field(default_factory=list)
    """The steps of the whole training, counted from 1, after which the masks changed."""
    kept: list[int] = field(default_factory=list)
    """Number of weights kept after each change."""
    overlap: list[float] = field(default_factory=list)
    """Weights that both the first and the new masks keep, as a share of those that either keeps."""
    ever_alive: list[float] = field(default_factory=list)
    """Share of all weights that have been kept at some step."""

    @classmethod
    def beginning(cls, masks: Masks) -> "MaskHistory":
        """The history of masks that have not changed yet."""
        return cls(masks, masks, {name: mask.clone() for name, mask in masks.items()})

    def add(self, step: int, masks: Masks) -> None:
        """Note the masks after a change."""
        self.last = masks
        both = either = alive = 0
        for name, mask in masks.items():
            self.ever[name] |= mask
            both += int((mask & self.first[name]).sum())
            either += int((mask | self.first[name]).sum())
            alive += int(self.ever[name].sum())
        self.steps.append(step)
        self.kept.append(masks.kept)
        self.overlap.append(both / either if either else 1.0)
        self.ever_alive.append(alive / masks.total)

    def record(self) -> dict[str, Any]:
        """Copies of the lists that have a value for each change, as JSON values under the names of the fields."""
        return {name: list(getattr(self, name)) for name in ("steps", "kept", "overlap", "ever_alive")}


class Changing:
    """Holds the masks of a network in training, and changes them after the steps that ``change`` says."""

    def __init__(
        self, change: Change, history: MaskHistory, model: nn.Module, optimizer: torch.optim.Optimizer, start: int
    ):
        """Hold the last masks of ``history``.

        :param start: how many steps of the whole training have been done.
        """
        self.change, self.history, self.model, self.optimizer, self.done = change, history, model, optimizer, start
        self._held = history.last.hold(model, optimizer)

    def after(self, step: Step) -> Step:
        """Return a step that does ``step``, and then changes the masks if a change is due."""

        def stepping(x: Tensor, y: Tensor) -> Tensor:
            loss = step(x, y)
            self.done += 1
            if self.change.due(self.done):
                self._change()
            return loss

        return stepping

    @torch.no_grad()
    def _change(self) -> None:
        old, weights = self.history.last, prunable(self.model)
        values = {name: weights[name].detach() for name in old}
        if any(value.isnan().any() for value in values.values()):
            raise NonFiniteLoss(
                f"weights are NaN after step {self.done}, at which the masks change: "
                "lower the learning rate or check the data"
            )
        found = {name: weights[name].grad for name in old}  # None if the network does not use the weight
        gradients = {name: torch.zeros_like(values[name]) if grad is None else grad for name, grad in found.items()}
        new = self.change.rule(self.done, old, values, gradients)
        self._held.remove()
        self._held = new.hold(self.model, self.optimizer)
        for name, mask in new.items():
            forget(self.optimizer, weights[name], mask & ~old[name])
        self.history.add(self.done, new)

    def remove(self) -> None:
        """Stop holding the masks."""
        self._held.remove()


def forget(optimizer: torch.optim.Optimizer, weight: nn.Parameter, where: Tensor) -> None:
    """Set to 0 what the optimiser remembers of some entries of a weight, such as momenta.

    :param where: bool, in the shape of the weight.
    """
    state: Mapping[str, Any] = optimizer.state.get(weight, {})
    for value in state.values():
        if isinstance(value, Tensor) and value.shape == weight.shape:
            value.masked_fill_(where, 0.0)
