"""Channels-last memory for convolutions, for which the kernels of cuDNN and oneDNN are made."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from autosparse.mode import EVAL, in_mode
from autosparse.seeds import kept_generators


@contextlib.contextmanager
def channels_last(model: nn.Module, input_shape: tuple[int, ...]) -> Iterator[None]:
    """Lay the weights of 2-D convolutions channels-last in memory within the block, and as before after it.

    Shapes, values and flat positions stay the same: ``weight.flatten()`` is what it was. Convolutions pass the layout
    on to what follows them. A model that cannot take it (``x.view(len(x), -1)`` of a feature map) is left as it is; a
    forward pass of two blank examples finds out. So is a model with a convolution that :func:`_overruns`.

    :param input_shape: shape of one example.
    """
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and isinstance(m.weight, nn.Parameter)]
    before = [weight.stride() for weight in weights]
    for weight in weights:
        weight.data = weight.data.to(memory_format=torch.channels_last)  # contiguous() would see no need with 1 channel
    try:
        if any(map(_overruns, model.modules())) or (
            weights and not _computes(model, torch.zeros(2, *input_shape, device=weights[0].device))
        ):
            _restore(weights, before)
        yield
    finally:
        _restore(weights, before)


def fills_its_memory(tensor: torch.Tensor) -> bool:
    """Whether a tensor's numbers lie next to each other, in any order of its dimensions, without gaps.

    Fused optimisers on a CPU rely on it: given a slice, they update the first numbers in its memory, whose they may be.
    """
    expected = 1
    for stride, size in sorted(
        (stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1
    ):
        if stride != expected:
            return False
        expected *= size
    return True


def _overruns(layer: nn.Module) -> bool:
    """Whether oneDNN writes beyond its memory in the backward pass, channels-last.

    On processors that have AVX2 but not AVX-512 it does so for a convolution of single pixels that has a stride and
    fewer than 8 input channels: PyTorch 2.15 ends with a corrupted heap, or worse, goes on.
    """
    if not isinstance(layer, nn.Conv2d) or layer.weight.device.type != "cpu":
        return False
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels // layer.groups < 8


def _restore(weights: list[nn.Parameter], strides: list[tuple[int, ...]]) -> None:
    for weight, stride in zip(weights, strides, strict=True):
        if weight.stride() != stride:
            weight.grad = None  # in the other layout, which fused optimisers would misread
            weight.data = weight.new_empty_strided(weight.shape, stride).copy_(weight.data)


@torch.no_grad()
def _computes(model: nn.Module, examples: torch.Tensor) -> bool:
    """Whether ``model`` takes ``examples`` in evaluation mode; its modes and torch's generators stay as they are."""
    try:
        with in_mode(model, EVAL), kept_generators(examples.device):
            model(examples)
    except RuntimeError:
        return False
    return True
