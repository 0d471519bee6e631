"""The compact network that is trained in place of a masked one, with the same outcome."""

import torch
from torch import Tensor, nn

from autosparse.compaction import Compact, compact, put
from autosparse.data.split import Dataset
from autosparse.errors import warn_once
from autosparse.masks import Masks
from autosparse.training.execution import Execution
from autosparse.training.history import History
from autosparse.training.optimizer_state import put_back, taken
from autosparse.training.recipe import Recipe
from autosparse.training.state import OPTIMIZER, REST, State

WORTH = 0.6
"""``auto`` trains the compact network if at most this share of the FLOPs is left."""
DENSE = 0.5
"""``auto`` does not try masks that keep a larger share of the weights: they leave hardly a channel unread."""


class StandIn:
    """What is trained in place of ``model``: the model itself, or a compact network.

    :ivar network: the network to train.
    :ivar masks: the masks to hold in it.
    :ivar flops_left: share of the dense forward pass that it computes.
    :ivar trained: all that the optimiser trains: the network, and the weights of ``model`` that it lacks.
    """

    def __init__(self, model: nn.Module, masks: Masks | None, recipe: Recipe, small: Compact | None):
        self.model, self.small = model, small
        self.network, self.masks, self.flops_left = model, masks, 1.0
        self.rest: _Remainder | None = None
        if small is not None and masks is not None:
            self.network, self.masks, self.flops_left = small.network, small.masks, small.flops_left
            self.rest = _Remainder(model, masks, small, recipe)
            masks.apply_(model)
        self.trained = self.network
        if self.rest is not None and self.rest.values.numel() > 0:
            self.trained = nn.ModuleList([self.network, self.rest])

    def optimizer(self, recipe: Recipe) -> torch.optim.Optimizer:
        """A fresh optimiser of all that is trained."""
        optimizer = recipe.optimizer_for(self.trained)
        if self.rest is not None:
            optimizer.register_step_pre_hook(self.rest.without_gradient)
        return optimizer

    def settle(self) -> None:
        """Give the model the values that training the whole of it would give."""
        if self.small is not None and self.rest is not None:
            self.rest.write_back(self.model)
            self.small.write_back(self.model)
            self.model.train(self.network.training)

    def state(self, epoch: int, optimizer: torch.optim.Optimizer, history: History) -> State:
        """The state of the training after ``epoch``; call :meth:`settle` before.

        The compact network's own weights are not in it: they are those of the model at their places.
        """
        rest = {} if self.rest is None else taken(optimizer, dict(self.rest.named_parameters()))
        return State.now(epoch, self.model, history, taken(optimizer, dict(self.network.named_parameters())), rest)

    def resume(self, state: State, optimizer: torch.optim.Optimizer) -> None:
        """Restore what the optimiser remembered at ``state``.

        Set the model to ``state`` before building this stand-in.
        """
        put_back(optimizer, dict(self.network.named_parameters()), state.part(OPTIMIZER))
        if self.rest is not None:
            put_back(optimizer, dict(self.rest.named_parameters()), state.part(REST))


def stand_in_for(
    model: nn.Module, masks: Masks | None, dataset: Dataset, recipe: Recipe, execution: Execution
) -> StandIn:
    """A compact network if ``execution`` asks for it and there is one, else ``model`` itself.

    If it asks and there is none, a warning says why.
    """
    small = None
    way = execution.compact
    on_cpu = dataset.train.device.type == "cpu"  # on a GPU launches, not FLOPs, cost the time of small networks
    if masks is not None and (way == "on" or (way == "auto" and on_cpu and masks.density <= DENSE)):
        sparse = execution.precision_on(dataset.train.device) == "float32"
        found = compact(model, masks, dataset.input_shape, sparse)
        drawing = "its forward draws at random, and a compact network would draw other numbers"
        reason = drawing if found.draws else found.reason
        if found.draws or (found.reason and not found.places):
            warn_once(__name__, f"{type(model).__name__} is trained whole, not compact: {reason}")
        elif way == "on" or found.flops_left <= WORTH:
            small = found
    return StandIn(model, masks, recipe, small)


class _Remainder(nn.Module):
    """The weights that are not pruned but that the compact network lacks, as one vector.

    In the full network nothing reads them, or they read nothing. So their gradients are 0, and only the optimiser's
    weight decay changes them.

    :ivar slots: by the name of a parameter of the full network the flat positions there, int64 (weights,).
    """

    def __init__(self, model: nn.Module, masks: Masks, small: Compact, recipe: Recipe):
        super().__init__()
        self.slots: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            if name in small.places and parameter.requires_grad and recipe.weight_decay:
                kept = masks[name].flatten() if name in masks else torch.ones(parameter.numel(), dtype=torch.bool)
                kept = kept.to(parameter.device, copy=True)
                kept[small.places[name].flatten()] = False
                self.slots[name] = kept.nonzero().squeeze(1)
        full = dict(model.named_parameters())
        found = [full[name].detach().flatten()[where] for name, where in self.slots.items()]
        self.values = nn.Parameter(torch.cat(found) if found else torch.zeros(0))
        self.zeros = torch.zeros_like(self.values)

    def without_gradient(self, *_: object) -> None:
        """Give the values a gradient of 0, like any weight that nothing reads.

        Without a gradient they would not decay.
        """
        self.values.grad = self.zeros

    @torch.no_grad()
    def write_back(self, model: nn.Module) -> None:
        """Put the values into the full network."""
        full = dict(model.named_parameters())
        parts = self.values.split([len(where) for where in self.slots.values()])
        for (name, where), values in zip(self.slots.items(), parts, strict=True):
            put(full[name], where, values)
