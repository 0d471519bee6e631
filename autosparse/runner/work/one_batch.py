"""Models, data sets and criteria tried on one small batch on the CPU, so that the user learns of errors at once."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosparse.allowed import fits
from autosparse.criteria import CRITERIA, check_options, unchecked_scores
from autosparse.criteria.options import ROUNDS
from autosparse.data import source_of
from autosparse.data.split import Batch, Dataset, Split
from autosparse.devices import host
from autosparse.errors import AutosparseError, DataError
from autosparse.experiment.tasks import Cell, IrpTask
from autosparse.masks import Masks
from autosparse.models import build_model, find_model
from autosparse.models.arguments import bare_name
from autosparse.models.logits import has_logits
from autosparse.seeds import derive_seed, drawing_from, generator
from autosparse.training import Execution, Recipe, Trainer, train
from autosparse.users_code import described, is_ours, named, place_of_error

SIZE = 8
"""Images of the batch."""
INSTALLED = ("torchvision", "timm")
"""Sources of models that are tried on blank examples when they are built."""
DEBUG = "--debug shows the traceback, --no-rehearsal skips this trial"


def batch_of(dataset: Dataset, name: str) -> Batch:
    """The first training images of a data set, checked.

    :raises DataError: if they are not what a batch must be, with the place of the user's loader.
    """
    whose = named(f"dataset {name!r}", source_of(name).load)
    try:
        x, y = next(iter(dataset.train.batches(SIZE, limit=SIZE)))
    except AutosparseError:
        raise
    except Exception as error:
        raise DataError(f"{whose} gives no batch: {described(error)}; {DEBUG}") from error
    shape = (len(y), *dataset.input_shape)
    if tuple(x.shape) != shape or x.dtype != torch.float32:
        raise DataError(f"{whose} gives images {tuple(x.shape)} of {x.dtype}, not {shape} of torch.float32")
    labels = dataset.train.labels if isinstance(dataset.train, Split) else y
    if labels.dtype != torch.int64 or y.ndim != 1:
        raise DataError(f"{whose} gives labels {tuple(y.shape)} of {y.dtype}, not ({len(x)},) of torch.int64")
    if not 0 <= int(labels.min()) <= int(labels.max()) < dataset.num_classes:
        raise DataError(
            f"{whose} has labels from {int(labels.min())} to {int(labels.max())}, but {dataset.num_classes} classes, "
            f"which are 0 to {dataset.num_classes - 1}"
        )
    return x.cpu(), y.cpu()


def doubt_about(dataset: Dataset, name: str) -> str | None:
    """What is odd about a data set of the user's, though not wrong: labels that seem to start at 1; else None."""
    source = source_of(name)
    if is_ours(source.load) or not isinstance(dataset.train, Split) or not int(dataset.train.labels.min()):
        return None
    whose = named(f"dataset {name!r}", source.load)
    return f"{whose} has no training image of class 0 of its {dataset.num_classes} classes: do its labels start at 1?"


def try_model(name: str, dataset: Dataset, batch: Batch) -> None:
    """Build a network; the user's own also does a step forward and back on the batch, as in training.

    Our own networks are built and tried without memory, on ``meta``. Those of torchvision and timm try themselves.

    :raises AutosparseError: if that fails or the outputs are no logits, in one line with the place in the user's code.
    """
    factory = find_model(name)
    source, colon, _ = bare_name(name).partition(":")
    ours = not colon and is_ours(factory)
    whose, classes = named(f"model {name!r}", factory), dataset.num_classes
    with _told(f"{whose} cannot be built for {dataset.input_shape} inputs"):
        if ours:
            with torch.device("meta"):
                model = factory(classes, dataset.input_shape)
        else:
            with host(), drawing_from(derive_seed(0, "construction"), torch.device("cpu")):
                model = factory(classes, dataset.input_shape)
    if not isinstance(model, nn.Module):
        raise AutosparseError(f"{whose} returned {_kind(model)}, not an nn.Module")
    if colon and source in INSTALLED:
        return
    x, y = (part.to("meta") for part in batch) if ours else batch
    taken = f"{whose} does not take a batch of shape {tuple(x.shape)} of dataset {dataset.name!r}"
    with _told(taken), drawing_from(derive_seed(0, "dropout"), torch.device("cpu")), torch.set_grad_enabled(not ours):
        logits = model.train()(x)
    _check_logits(logits, (len(y), classes), whose)
    if not ours:
        with _told(f"{whose} cannot be differentiated"):
            F.cross_entropy(logits, y).backward()


def try_criterion(task: Cell | IrpTask, dataset: Dataset, batch: Batch) -> None:
    """Let the task's criterion score its network on the batch, in a single round or step if it has such an option.

    Scores that are all 0, or infinite, pass: on more batches they may be others. A criterion that asks for a scorer is
    not tried.

    :raises AutosparseError: if it fails or returns no scores, in one line with the place in the user's code.
    """
    name, chosen = task.criterion, CRITERIA[task.criterion]
    if "scorer" in chosen.given:
        return
    sparsity = task.sparsity if isinstance(task, Cell) else 0.5
    given: dict[str, Any] = {"seed": 0, "sparsity": sparsity, "near": sparsity}
    given["training"] = _OneStep(dataset, task.recipe, small=_small(dataset, batch))
    passed = {**task.options, **{option: given[option] for option in chosen.given & given.keys()}}
    passed |= _once(name, passed)
    check_options(name, passed)
    model = build_model(task.model, dataset.num_classes, dataset.input_shape)
    with _told(named(f"criterion {name!r}", chosen.function)):
        unchecked_scores(model, name, [batch], **passed)


def _check_logits(logits: Any, wanted: tuple[int, int], whose: str) -> None:
    if isinstance(logits, Tensor) and tuple(logits.shape) == wanted and logits.is_floating_point():
        return
    if isinstance(logits, Tensor):
        what = f"{tuple(logits.shape)} of {logits.dtype}"
    else:
        what = _kind(logits) + (": return its .logits" if has_logits(logits) else "")
    raise AutosparseError(f"{whose} must return logits, a float tensor of shape {wanted}, but returns {what}")


def _once(name: str, options: Mapping[str, Any]) -> dict[str, int]:
    """Options that make the criterion go round once, if 1 is a value that they can have."""
    found = {option: CRITERIA[name].parameters[option] for option in ROUNDS if option in CRITERIA[name].parameters}
    whole = {option: given for option, given in found.items() if type(options.get(option, given.default)) is int}
    return {option: 1 for option, given in whole.items() if fits(1, given.annotation)}


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn an error into one line; if it already says what is wrong, only add the place in the user's code."""
    try:
        yield
    except Exception as error:
        text, place = str(error), place_of_error(error)
        if not isinstance(error, AutosparseError):
            text = f"{what}: {described(error)}; {DEBUG}"
        elif place and place not in text:
            text = f"{text} (at {place})"
        raise AutosparseError(text) from error


def _kind(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _small(dataset: Dataset, batch: Batch) -> Dataset:
    """A data set like ``dataset`` of a few images."""
    x, y = batch
    bytes_ = torch.randint(0, 256, x.shape, dtype=torch.uint8, generator=generator(0, "one batch"))
    channels = dataset.input_shape[0]
    split = Split(bytes_, y, torch.full((channels,), 127.5), torch.full((channels,), 74.0))
    return replace(dataset, train=split, test=split)


@dataclass
class _OneStep(Trainer):
    """Looks like the task's trainer, but trains for one step only."""

    small: Dataset | None = None

    def __call__(
        self, model: nn.Module, masks: Masks | None, run: int | None = None, start: int = 0, stop: int | None = None
    ) -> None:
        """Do a step."""
        assert self.small is not None
        recipe = Recipe(epochs=1, batch_size=SIZE, lr=1e-4)
        train(model, self.small, recipe, masks, self.seed, self.loss, execution=Execution(compact="off"))
