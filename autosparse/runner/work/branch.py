"""The start of a branch of an IRP run: the run's masks after one of its iterations, over its initial weights."""

import functools

import torch
from torch import nn

from autosparse.errors import AutosparseError
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.irp import load_survival
from autosparse.masks import Masks, prunable

_survival = functools.lru_cache(maxsize=1)(load_survival)


def branch_masks(cell: Cell, model: nn.Module, store: Store) -> Masks:
    """The masks of the IRP run that ``cell`` branches from, after iteration ``cell.level``.

    :param model: as initialised with ``cell.init_seed``.
    :raises AutosparseError: if its weights differ in any bit from those that the run started from.
    """
    assert cell.trunk is not None
    assert cell.level is not None
    survival = _survival(store.fetched("irp", cell.trunk.id) / "survival")
    for name, weight in prunable(model).items():
        if name not in survival.param:
            raise AutosparseError(
                f"IRP run {cell.trunk.id} knows nothing of {name!r}, a weight of {cell.model} that can be pruned: an "
                "earlier version left it out; do the run again, in a fresh --storage"
            )
        if not torch.equal(weight.detach().float().cpu(), survival.param[name]):
            raise AutosparseError(
                f"{cell.model} with seed {cell.init_seed} does not start from the weights of IRP run {cell.trunk.id} "
                f"({name!r} differs): the model has changed since; use a fresh --storage"
            )
    device = next(model.parameters()).device
    return survival.masks(cell.level).to(device)
