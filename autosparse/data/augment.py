"""Augmentation of whole batches as tensor operations on the device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from autosparse.data.resized_crop import random_resized_crop
from autosparse.devices import sent
from autosparse.errors import AutosparseError, UnknownName
from autosparse.seeds import Draws, rand

AUGMENTATIONS = ("none", "crop-flip", "random-resized-crop")


def augment(
    images: Tensor, name: str, draws: Draws | None, size: tuple[int, int] | None = None, aspect: Tensor | None = None
) -> Tensor:
    """Augment normalised images (batch, channels, height, width).

    ``crop-flip``: zero-pad by 4, crop back at a random place, flip left-right with probability 1/2,
    each drawn per image. ``random-resized-crop``: see :mod:`autosparse.data.resized_crop`. Only this one uses
    ``size``, the (height, width) to resize to (None: that of ``images``), and ``aspect``.

    :param draws: a CPU generator, or one for each of several equal parts of the batch, augmented as if it stood alone.
    """
    if name == "none":
        return images
    if name not in AUGMENTATIONS:
        raise UnknownName("augmentation", name, AUGMENTATIONS)
    if draws is None:
        raise AutosparseError(f"augmentation {name!r} draws at random: give batches a generator to shuffle with")
    if name == "random-resized-crop":
        return random_resized_crop(images, size or (images.shape[2], images.shape[3]), draws, aspect)
    return _crop_flip(images, draws)


def _crop_flip(images: Tensor, draws: Draws) -> Tensor:
    batch, _, height, width = images.shape
    draw = sent(rand(3, batch, draws=draws), images.device)
    top, left = (draw[:2] * 9).long()
    columns = torch.arange(width, device=images.device)
    columns = torch.where(draw[2, :, None] < 0.5, columns.flip(0), columns) + left[:, None]
    rows = torch.arange(height, device=images.device) + top[:, None]
    padded = F.pad(images, (4, 4, 4, 4))
    index = torch.arange(batch, device=images.device)[:, None, None]
    cropped = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    # Not contiguous(): it leaves a single channel's strides, which a convolution takes for channels-last.
    return cropped.clone(memory_format=torch.contiguous_format)
