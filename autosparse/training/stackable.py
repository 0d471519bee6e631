"""Which networks can train together, as one :class:`autosparse.training.stack.Stack`."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from autosparse.compaction import hook_on
from autosparse.data.split import Dataset, Split
from autosparse.devices import full_float32
from autosparse.errors import first_line
from autosparse.loss import Loss
from autosparse.masks import Masks
from autosparse.seeds import generator_states, kept_generators
from autosparse.training.alike import differing_setting
from autosparse.training.stack import STACKED, Stack, owns_tensors


@dataclass(frozen=True)
class Member:
    """A network, its masks, and the seed of its data order and augmentation."""

    model: nn.Module
    masks: Masks | None = None
    seed: int = 0


def why_not_together(members: Sequence[Member], dataset: Dataset, loss: Loss = F.cross_entropy) -> str | None:
    """What keeps ``members`` from training together; None if nothing does.

    The networks and torch's generators are left as they are.
    """
    if not isinstance(dataset.train, Split):
        return "the data set is streamed from files"
    models = [member.model for member in members]
    if any(_architecture(model) != _architecture(models[0]) for model in models[1:]):
        return "they differ in their architecture"
    if any(_trained(model) != _trained(models[0]) for model in models[1:]):
        return "they differ in which parameters are trained"
    if _share(models):
        return "some of them share tensors, or a network is given twice"
    if settings := next((found for m in models[1:] if (found := differing_setting(models[0], m))), None):
        return f"they differ in {settings}"
    hooks = (hook for model in models if (hook := hook_on(model)) is not None)
    return why_not_stacked(models[0]) or next(hooks, None) or _disagreement(models[:2], dataset.train)


def _share(models: Sequence[nn.Module]) -> bool:
    held = [{id(tensor) for tensor in (*model.parameters(), *model.buffers())} for model in models]
    return len(set().union(*held)) < sum(map(len, held)) or len({id(model) for model in models}) < len(models)


def _architecture(model: nn.Module) -> tuple[object, ...]:
    """The kinds of layers with their settings, and the tensors that they hold."""
    return str(model), [(name, value.shape, value.dtype) for name, value in model.state_dict().items()]


def _trained(model: nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in model.parameters()]


def why_not_stacked(model: nn.Module) -> str | None:
    """What keeps networks like ``model`` from a :class:`Stack`; None if nothing does."""
    layers = [module for _, module in model.named_modules(remove_duplicate=False)]
    parameters = list(model.named_parameters(remove_duplicate=False))
    if len(layers) > len(set(layers)) or len(parameters) > len(list(model.parameters())):
        return "layers share their parameters"
    for layer in layers:
        if owns_tensors(layer) and type(layer) not in STACKED:
            return f"no stacked form of {type(layer).__name__}"
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            return "dropout draws for the whole batch"
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            return f"no stacked form of padding by {layer.padding_mode}"
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.momentum is None:
            return "no stacked form of BatchNorm with a cumulative mean"
    return None


def _disagreement(models: Sequence[nn.Module], split: Split) -> str | None:
    """Try the stack on a few images: a forward pass may mix examples, read weights itself, or draw at random.

    Each network gets its own images, because a mean over the folded batch would not change images that all share, and
    weights at random, because a layer that begins at 0 would hide what comes before it.
    """
    images, _ = next(split.batches(8))
    given = [images if index % 2 == 0 else -images for index in range(len(models))]
    models = [_at_random(model, seed) for seed, model in enumerate(models)]
    with torch.no_grad(), kept_generators(images.device), full_float32():
        before = generator_states(images.device)
        alone = torch.cat([model(x) for model, x in zip(models, given, strict=True)])
        try:
            together = Stack(models).train()(torch.cat(given))
        except Exception as error:  # whatever a forward raises on a stack
            return f"their forward pass does not take a folded batch ({first_line(error)})"
        if not torch.equal(before, generator_states(images.device)):
            return "their forward pass draws at random"
    size = alone.nan_to_num(0, 0, 0).abs().amax().clamp_min(torch.finfo(alone.dtype).tiny)
    if alone.shape != together.shape or not torch.allclose(alone / size, together / size, 1e-3, 1e-3, equal_nan=True):
        return "their forward pass mixes the examples of a batch"
    return None


def _at_random(model: nn.Module, seed: int) -> nn.Module:
    """A copy in training mode, with weights drawn at random, and biases and scales around 1."""
    model, draws = copy.deepcopy(model).train(), torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        drawn = torch.empty(parameter.shape)
        if parameter.dim() > 1:
            drawn.normal_(0, math.sqrt(2 * len(parameter) / max(1, parameter.numel())), generator=draws)
        else:
            drawn.uniform_(0.5, 1.5, generator=draws)
        parameter.data.copy_(drawn)
    return model
