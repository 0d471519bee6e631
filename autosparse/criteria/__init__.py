"""Pruning criteria by name. A new one is one new file here whose function carries ``@criterion``.

A criterion is a function ``(model, batches, loss, **options) -> Scores``: a tensor per prunable weight, higher = keep.
It leaves the model as it found it: weights, buffers, gradients and mode. Only one that says ``changes_weights`` leaves
it with the weights from which the pruned network's training starts.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from autosparse.criteria.options import Sparsity, check_values
from autosparse.criteria.types import Batches, Loss
from autosparse.criteria.watch import Watch
from autosparse.devices import DeviceLost, full_float32
from autosparse.errors import AutosparseError, UnknownName
from autosparse.masks import Masks, Scores
from autosparse.registry import Registry, first_line
from autosparse.seeds import derive_seed, drawing_from


@dataclass(frozen=True)
class Criterion:
    """A criterion with what its users must know."""

    name: str
    function: Callable[..., Scores]
    needs: frozenset[str]
    """Of ``data``, ``gradients``, ``hessian-vector products``, ``rounds``, ``scorer``, ``training``, ``channels``.

    ``channels``: a model whose channels can be followed; whole ones are pruned (:mod:`autosparse.channels`).
    """
    paper: str
    changes_weights: bool = False
    """Whether it leaves the model with the weights from which the pruned network's training starts."""
    revision: int = 1
    """Counts up when a change of its code gives other scores for the same options; older results are then redone."""

    @property
    def summary(self) -> str:
        """One line on what it does."""
        return first_line(self.function)

    @property
    def options(self) -> list[str]:
        """Names of the options that :func:`score` passes through."""
        return list(inspect.signature(self.function).parameters)[3:]


HINTS = {
    "scorer": "what load_scorer or fit_scorer returns",
    "sparsity": "the share of weights to remove, which prune() gives it",
    "training": "a Trainer(dataset, recipe, seed), as it trains networks on the way",
}
"""Where the options come from that have no default."""

__all__ = ["CRITERIA", "Batches", "Criterion", "Loss", "check_options", "criterion", "prune", "score"]

CRITERIA: Registry[Criterion] = Registry("criterion", __name__)


def criterion(
    name: str, *, needs: Iterable[str] = (), paper: str, changes_weights: bool = False, revision: int = 1
) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Decorator: make a scoring function known under the name that users type."""

    def decorate(function: Callable[..., Scores]) -> Callable[..., Scores]:
        CRITERIA.register(name, Criterion(name, function, frozenset(needs), paper, changes_weights, revision))
        return function

    return decorate


def check_options(name: str, options: Mapping[str, Any]) -> Criterion:
    """The criterion ``name``; raises where it does not know an option, or one that it needs is not given."""
    chosen = CRITERIA[name]
    for option in options:
        if option not in chosen.options:
            raise UnknownName(f"option of criterion {name!r}:", option, chosen.options)
    parameters = inspect.signature(chosen.function).parameters
    for option in chosen.options:
        if parameters[option].default is inspect.Parameter.empty and option not in options:
            hint = f": {HINTS[option]}" if option in HINTS else ""
            raise AutosparseError(f"criterion {name!r} needs the option {option!r}{hint}")
    check_values(name, options, parameters)
    return chosen


def score(
    model: nn.Module, name: str, batches: Batches | None = None, loss: Loss = F.cross_entropy, **options: Any
) -> Scores:
    """Score every prunable weight of ``model`` with the criterion ``name``; a higher score means: keep.

    On the CPU it runs on one thread, so that scores and masks do not depend on the number of cores; on a GPU float32 is
    float32, not TF32. Layers that draw at random (dropout) do so from the option ``seed``.

    :param batches: iterable of (x, y) on the model's device; may be None where the criterion needs no data.
    :param loss: mean loss over a batch.
    :param options: of the criterion, e.g. ``seed`` for ``random``, ``scorer`` for ``autos``, ``training`` for ``lth``.
    :return: weight name -> tensor of the weight's shape.
    :raises UnknownName: with the nearest known name.
    :raises AutosparseError: where data or a required option is missing, an option has a value that it cannot have, the
        model does not take the batches, there is nothing to prune, or every score is 0.
    """
    chosen = check_options(name, options)
    if batches is None and "data" in chosen.needs:
        raise AutosparseError(f"criterion {name!r} needs data: pass batches, an iterable of (x, y)")
    watch = Watch()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        with one_thread(device), full_float32(), drawing_from(derive_seed(options.get("seed", 0), "scoring"), device):
            scores = chosen.function(model, None if batches is None else watch(batches), loss, **options)
    except (RuntimeError, ValueError, IndexError) as error:
        if not isinstance(error, AutosparseError | DeviceLost | torch.OutOfMemoryError):
            watch.explain(model, error)
        raise
    if scores and not any(s.any() for s in scores.values()):
        raise AutosparseError(
            f"every score of criterion {name!r} is 0, so nothing can be ranked: the loss depends on no single weight, "
            "as with a last layer of zeros; initialise it otherwise"
        )
    return scores


@contextlib.contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute on one thread, if on the CPU: sums in another order move scores by a thousandth in deep networks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def prune(
    model: nn.Module,
    name: str,
    sparsity: Sparsity,
    batches: Batches | None = None,
    loss: Loss = F.cross_entropy,
    **options: Any,
) -> Masks:
    """Masks of ``model`` at ``sparsity`` by the criterion ``name``: :func:`score`, then :meth:`Masks.from_scores`.

    Criteria that take ``sparsity`` as an option prune by themselves: in rounds, or whole channels. They are told of it,
    and what they scored ``-inf`` is pruned.
    """
    check_values(name, {"sparsity": sparsity}, inspect.signature(prune).parameters)
    if "near" in CRITERIA[name].options:
        options.setdefault("near", sparsity)
    if "sparsity" not in CRITERIA[name].options:
        return Masks.from_scores(score(model, name, batches, loss, **options), sparsity)
    return Masks.where_scored(score(model, name, batches, loss, sparsity=sparsity, **options))
