"""Pruning criteria by name. A new one is one new file here whose function carries ``@criterion``.

A criterion is a function ``(model, batches, loss, **options) -> Scores``: a tensor per prunable weight, higher = keep.
It leaves the model as it found it: weights, buffers, gradients and mode. Only a criterion with ``changes_weights``
leaves other weights: those from which the pruned network's training starts.

A criterion that reads gradients declares the mode in which it scores, training or evaluation. Its default is the mode
of its paper's code, and the option ``mode`` overrides it. The mode in which the caller left the model does not matter.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from autosparse.criteria.options import Mode, Sparsity, check_values
from autosparse.criteria.returned import check_returned
from autosparse.criteria.types import Batches, Loss
from autosparse.criteria.watch import Watch
from autosparse.devices import DeviceLost, full_float32
from autosparse.errors import AutosparseError, UnknownName
from autosparse.masks import Masks, Scores, keep_count
from autosparse.mode import TRAIN, in_mode
from autosparse.ranking import refuse_zeros, require_finite
from autosparse.registry import Registry, first_line
from autosparse.seeds import derive_seed, drawing_from
from autosparse.users_code import named
from autosparse.weights import left_out

GIVEN = frozenset({"seed", "scorer", "sparsity", "near", "training"})
"""Options that follow from the task: its seed, its scorer, the sparsity that it prunes to, and how it trains."""


@dataclass(frozen=True)
class Criterion:
    """A criterion, and what its users must know about it."""

    name: str
    function: Callable[..., Scores]
    needs: frozenset[str]
    """Some of ``data``, ``gradients``, ``hessian-vector products``, ``rounds``, ``scorer``, ``training``, ``channels``,
    ``changing masks``.

    ``channels``: a model whose channels can be followed; whole ones are pruned (:mod:`autosparse.channels`).
    ``changing masks``: a training that changes the masks; those that the criterion gives are only the first.
    """
    paper: str
    changes_weights: bool = False
    """Whether it leaves the model with the weights from which the pruned network's training starts."""
    revision: int = 1
    """Goes up when a change of its code gives other scores for the same options; older results are then done again."""
    imported: bool = True
    """False: it stands in for a criterion of a plugin that is not imported here; only its name is known."""
    mode: str | None = None
    """The default of the option ``mode`` that the decorator adds: ``train`` or ``eval``. None: it adds no such option,
    since the function reads no gradients or (like ``autos``) has an option ``mode`` of its own."""

    @property
    def summary(self) -> str:
        """One line on what it does."""
        return first_line(self.function)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The options by name: the function's own and, if it has one, ``mode``."""
        parameters = dict(list(inspect.signature(self.function).parameters.items())[3:])
        if self.mode is not None:
            parameters["mode"] = Parameter("mode", Parameter.KEYWORD_ONLY, default=self.mode, annotation=Mode)
        return parameters

    @property
    def options(self) -> list[str]:
        """Names of the options that :func:`score` takes."""
        return list(self.parameters)

    @property
    def given(self) -> frozenset[str]:
        """Those of its options that follow from the task, so that no user sets them; see :data:`GIVEN`."""
        return GIVEN.intersection(self.parameters)

    @property
    def scores_for_one_sparsity(self) -> bool:
        """Whether its scores are useful only at the sparsity that they were made for."""
        return not {"sparsity", "near", "training"}.isdisjoint(self.parameters)

    @property
    def marks(self) -> tuple[float, ...]:
        """Infinities that mark what it has pruned (-inf) and, if it prunes channels, what must stay (inf)."""
        if not {"sparsity", "near"}.intersection(self.parameters):
            return ()
        return (-torch.inf, torch.inf) if "channels" in self.needs else (-torch.inf,)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The options that may be left out, with their default values."""
        return {n: p.default for n, p in self.parameters.items() if p.default is not Parameter.empty}


HINTS = {
    "scorer": "what load_scorer or fit_scorer returns",
    "sparsity": "the share of weights to remove, which prune() gives it",
    "training": "a Trainer(dataset, recipe, seed), as it trains networks on the way",
}
"""What to pass for options that have no default."""

__all__ = ["CRITERIA", "Batches", "Criterion", "Loss", "check_options", "criterion", "prune", "score"]


def _not_imported(model: nn.Module, batches: Any, loss: Loss, **options: Any) -> Scores:
    raise AutosparseError("the criterion's plugin is not imported here; run the experiment without --dry-run")


CRITERIA: Registry[Criterion] = Registry(
    "criterion", __name__, lambda name: Criterion(name, _not_imported, frozenset(), paper="", imported=False)
)


READS = frozenset({"gradients", "hessian-vector products"})
"""Needs of criteria whose scores depend on the mode."""


def criterion(
    name: str,
    *,
    needs: Iterable[str] = (),
    paper: str,
    changes_weights: bool = False,
    revision: int = 1,
    mode: str | None = None,
) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Decorator: make a scoring function known under the name that users type.

    :param mode: the mode in which it scores by default, ``train`` or ``eval``; None: ``train`` if it needs gradients
        and has no option ``mode`` of its own, otherwise the mode that the model is in.
    :raises ValueError: if its options cannot be told from its signature, or if it has an option ``mode`` of its own.
    """

    def decorate(function: Callable[..., Scores]) -> Callable[..., Scores]:
        parameters = inspect.signature(function).parameters
        if any(p.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) for p in parameters.values()):
            raise ValueError(f"criterion {name!r} must name its options, not take any by * or **")
        takes_mode = "mode" in parameters
        if takes_mode and mode is not None:
            raise ValueError(f"criterion {name!r} already has an option 'mode': leave mode= out of @criterion")
        default = TRAIN if mode is None and not takes_mode and READS.intersection(needs) else mode
        found = Criterion(name, function, frozenset(needs), paper, changes_weights, revision, mode=default)
        CRITERIA.register(name, found, function)
        return function

    return decorate


def check_options(name: str, options: Mapping[str, Any]) -> Criterion:
    """Return the criterion ``name``; raise if it does not know an option, or if one that it needs is missing."""
    chosen = CRITERIA[name]
    for option in options:
        if option not in chosen.options:
            raise UnknownName(f"option of criterion {name!r}:", option, chosen.options)
    for option in chosen.options:
        if option not in chosen.defaults and option not in options:
            hint = f": {HINTS[option]}" if option in HINTS else ""
            raise AutosparseError(f"criterion {name!r} needs the option {option!r}{hint}")
    check_values(name, options, chosen.parameters)
    return chosen


def score(
    model: nn.Module, name: str, batches: Batches | None = None, loss: Loss = F.cross_entropy, **options: Any
) -> Scores:
    """Score every prunable weight of ``model`` with the criterion ``name``; a higher score means: keep.

    On the CPU it runs on one thread, so that scores and masks do not depend on the number of cores; on a GPU float32 is
    float32, not TF32. Layers that draw at random (dropout) do so from the option ``seed``.

    >>> data = asp.load_dataset("digits")
    >>> model = asp.build_model("lenet-300-100", 10, data.input_shape)
    >>> scores = asp.score(model, "snip", data.train.batches(128, limit=512))
    >>> {name: tuple(score.shape) for name, score in scores.items()} == {
    ...     name: tuple(weight.shape) for name, weight in asp.prunable(model).items()
    ... }
    True

    :param batches: iterable of (x, y) on the model's device; may be None if the criterion needs no data.
    :param loss: mean loss over a batch.
    :param options: of the criterion, e.g. ``seed`` for ``random``, ``scorer`` for ``autos``, ``training`` for ``lth``;
        ``mode`` (``train`` or ``eval``) for each that reads gradients. Every submodule gets its own mode back.
    :return: weight name -> tensor of the weight's shape.
    :raises UnknownName: with the nearest known name.
    :raises AutosparseError: if data or a required option is missing, an option has a value that it cannot have, the
        model does not take the batches, there is nothing to prune, every score is 0, or one is not finite.
    """
    chosen = CRITERIA[name]
    scores = unchecked_scores(model, name, batches, loss, **options)
    whose, mode = f"criterion {name!r}", _mode(chosen, options)
    require_finite(scores, f"scores of {whose}" + (f" in mode {mode!r}" if mode else ""), marks=chosen.marks)
    if "sparsity" not in chosen.options:  # the others prune by themselves, and check where they rank
        refuse_zeros(scores.values(), whose)
    return scores


def unchecked_scores(
    model: nn.Module, name: str, batches: Batches | None = None, loss: Loss = F.cross_entropy, **options: Any
) -> Scores:
    """Return what :func:`score` returns, even if its values cannot be ranked: all 0, or not finite."""
    chosen = check_options(name, options)
    if batches is None and "data" in chosen.needs:
        raise AutosparseError(f"criterion {name!r} needs data: pass batches, an iterable of (x, y)")
    passed = {option: value for option, value in options.items() if option != "mode" or chosen.mode is None}
    watch = Watch(() if batches is None else batches)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    drawing = drawing_from(derive_seed(options.get("seed", 0), "scoring"), device)
    with one_thread(device), full_float32(), drawing, in_mode(model, _mode(chosen, options)):
        try:
            scores = chosen.function(model, None if batches is None else watch.passed_on(), loss, **passed)
        except (RuntimeError, ValueError, IndexError) as error:
            if not isinstance(error, AutosparseError | DeviceLost | torch.OutOfMemoryError):
                watch.explain(model, error)
            raise
    check_returned(scores, model, named(f"criterion {name!r}", chosen.function), partial="channels" in chosen.needs)
    return scores


def _mode(chosen: Criterion, options: Mapping[str, Any]) -> str | None:
    """The mode in which :func:`score` puts the network; None: it leaves it as it is."""
    return options.get("mode", chosen.mode) if chosen.mode is not None else None


@contextlib.contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute on one thread if on the CPU: sums in another order move scores by a thousandth in deep networks."""
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

    Criteria that take ``sparsity`` as an option prune by themselves: in rounds, or whole channels. They get it, and the
    weights that they score ``-inf`` are pruned.

    >>> data = asp.load_dataset("digits")
    >>> model = asp.build_model("lenet-300-100", 10, data.input_shape)
    >>> asp.prune(model, "iter-snip", 0.9, data.train.batches(128, limit=512), rounds=5)
    Masks(3 layers, 5020 of 50200 weights kept, sparsity 0.9000)

    :raises AutosparseError: also if ``near`` lets rounds prune more than ``sparsity`` does.
    """
    check_values(name, {"sparsity": sparsity}, inspect.signature(prune).parameters)
    if "near" in CRITERIA[name].options:
        options.setdefault("near", sparsity)
    if "sparsity" not in CRITERIA[name].options:
        scores = score(model, name, batches, loss, **options)
        if "near" in options:
            _refuse_revival(scores, name, sparsity)
        masks = Masks.from_scores(scores, sparsity)
    else:
        masks = Masks.where_scored(score(model, name, batches, loss, sparsity=sparsity, **options))
    masks.left_out = left_out(model)
    if hasattr(options.get("training"), "meant_for"):
        options["training"].meant_for(masks)
    return masks


def _refuse_revival(scores: Scores, name: str, sparsity: float) -> None:
    """Raise if rounds have pruned weights that would have to stay at ``sparsity``: nothing ranks those."""
    kept = keep_count(sum(score.numel() for score in scores.values()), sparsity)
    left = sum(int((score > -torch.inf).sum()) for score in scores.values())
    if left < kept:
        raise AutosparseError(
            f"criterion {name!r} has left only {left} of the {kept} weights that stay at sparsity {sparsity}: option "
            "near is the sparsity that its rounds end at; leave it out, or set it to at most that"
        )
