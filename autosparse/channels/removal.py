"""A network without its pruned channels, which really is smaller and faster."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autosparse.channels.mapping import Group, channel_groups
from autosparse.masks import Masks


def physically_prune(model: nn.Module, masks: Masks) -> nn.Module:
    """A smaller dense copy of ``model`` that computes what the masked network does.

    Every channel that nothing reads in the masked network is removed. Its BatchNorm or bias then does not matter
    either, and the outputs agree up to rounding, in training and evaluation mode, before and after training with
    :meth:`Masks.hold`. All that structured criteria prune is removed. With other masks, channels that happen to be
    unread go and the remaining zeros stay. If no channel of a layer is read, one of them is kept.

    Example:

    >>> data = asp.load_dataset("digits")
    >>> model = asp.build_model("lenet-300-100", 10, data.input_shape)
    >>> masks = asp.prune(model, "snip-structured", 0.5, data.train.batches(128, limit=512))
    >>> smaller = asp.physically_prune(model, masks)
    >>> x, y = next(data.test.batches(32))
    >>> torch.allclose(smaller(x), masks.apply_(model)(x), atol=1e-5)
    True
    >>> sum(layer.out_features for layer in smaller.modules() if isinstance(layer, torch.nn.Linear))  # 300 + 100 + 10
    210

    :return: a new module of the same classes; ``model`` is left as it was.
    :raises AutosparseError: if the masks are of another model.
    :raises AutosparseError: if channels of the model cannot be followed, see :func:`channel_groups`.
    """
    smaller = masks.apply_(copy.deepcopy(model))
    groups = channel_groups(smaller)
    for group, keep in zip(groups, _read_channels(groups, {**Masks.dense(smaller), **masks}), strict=True):
        for layer in group.rows:
            _take(smaller.get_submodule(layer), ("weight", "bias"), keep)
        for layer in group.norms:
            _take(smaller.get_submodule(layer), ("weight", "bias", "running_mean", "running_var"), keep)
        for layer in group.columns:
            _take(smaller.get_submodule(layer), ("weight",), keep, dim=1)
        for layer in (*group.rows, *group.norms, *group.columns):
            _note_width(smaller.get_submodule(layer))
    return smaller


def _read_channels(groups: Sequence[Group], masks: dict[str, Tensor]) -> list[Tensor]:
    """The channels of each group that something reads, bool (size,). One that only unread channels read is unread."""
    alive = {name: mask.cpu().clone() for name, mask in masks.items()}
    read = [torch.ones(group.size, dtype=torch.bool) for group in groups]
    while True:
        before = read
        read = [_read(group, alive) for group in groups]
        if all(torch.equal(now, then) for now, then in zip(read, before, strict=True)):
            return read
        for group, keep in zip(groups, read, strict=True):
            for layer in group.rows:
                alive[f"{layer}.weight"][~keep] = False


def _read(group: Group, alive: dict[str, Tensor]) -> Tensor:
    """The channels that a weight of ``alive`` reads, bool (size,); the first one if none does."""
    readers = [alive[f"{layer}.weight"] for layer in group.columns]
    keep = torch.stack([reader.reshape(len(reader), group.size, -1).any(2).any(0) for reader in readers]).any(0)
    keep[0] |= ~keep.any()
    return keep


def _take(layer: nn.Module, names: Sequence[str], keep: Tensor, dim: int = 0) -> None:
    """Keep only those entries of each tensor, along ``dim``, that belong to the channels ``keep``."""
    for name in names:
        tensor = getattr(layer, name)
        if tensor is None:
            continue
        entries = keep.repeat_interleave(tensor.shape[dim] // keep.numel()).nonzero().squeeze(1)
        taken = tensor.detach().index_select(dim, entries.to(tensor.device))
        if isinstance(tensor, nn.Parameter):
            taken = nn.Parameter(taken, requires_grad=tensor.requires_grad)
        setattr(layer, name, taken)


def _note_width(layer: nn.Module) -> None:
    """Set the layer's width attributes to the width of its tensors."""
    match layer:
        case nn.Linear():
            layer.out_features, layer.in_features = layer.weight.shape
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            layer.out_channels = layer.weight.shape[0]
            layer.groups = layer.out_channels if layer.groups > 1 else 1  # depthwise, else channel_groups refuses it
            layer.in_channels = layer.weight.shape[1] * layer.groups
        case nn.modules.batchnorm._BatchNorm():
            tensor = layer.weight if layer.affine else layer.running_mean
            layer.num_features = layer.num_features if tensor is None else len(tensor)
