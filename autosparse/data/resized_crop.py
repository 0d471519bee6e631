"""Random resized crop and flip (Szegedy et al. 2015), of whole batches on the device, with antialiasing.

The boxes have the distribution of torchvision's ``RandomResizedCrop``, and each is resized as its ``resized_crop``
would. Resizing is linear and separate for rows and columns, so that two batched matrix products do it for all boxes.
"""

import math

import torch
from torch import Tensor

from autosparse.devices import sent
from autosparse.seeds import Draws, rand

SCALE, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10


def random_resized_crop(images: Tensor, size: tuple[int, int], draws: Draws, aspect: Tensor | None = None) -> Tensor:
    """Cut a random box out of each image, resize it to ``size`` and flip it left-right with probability 1/2.

    :param images: float (batch, channels, height, width).
    :param size: (height, width) of the result.
    :param draws: a CPU generator, or several, see :func:`autosparse.data.augment.augment`; boxes are drawn per image.
    :param aspect: width / height (batch,), on the CPU, of the images before they were squashed into this shape; boxes
        are drawn for that shape. None: they were not squashed.
    """
    batch, _, height, width = images.shape
    boxes = draw_boxes(torch.full((batch,), width / height) if aspect is None else aspect, height, width, draws)
    flip = rand(batch, draws=draws) < 0.5
    return resized_crop(images, boxes, flip, size)


def draw_boxes(aspect: Tensor, height: int, width: int, draws: Draws) -> Tensor:
    """One box per image: top, left, height, width in whole pixels, int64 (batch, 4).

    Its area is a share of 0.08 to 1 of the image (uniform) and its ratio width / height 3/4 to 4/3 (uniform in the
    logarithm). The first of 10 tries that fits is taken, else the largest box of such a ratio in the middle.
    """
    draw = rand(2, TRIES, len(aspect), draws=draws)
    area = SCALE[0] + (SCALE[1] - SCALE[0]) * draw[0]
    ratio = torch.exp(math.log(RATIO[0]) + (math.log(RATIO[1]) - math.log(RATIO[0])) * draw[1]) / aspect
    fallback = torch.stack([(aspect / RATIO[0]).clamp(max=1), (RATIO[1] / aspect).clamp(max=1)])
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()])  # height, width as shares of the image's
    sides = torch.cat([sides, fallback[:, None]], dim=1)
    pixels = (sides * torch.tensor([height, width]).view(2, 1, 1)).round().long()
    pixels[:, TRIES].clamp_(min=1)
    fits = ((pixels > 0) & (pixels <= torch.tensor([height, width]).view(2, 1, 1))).all(0)
    first = fits.int().argmax(0)
    box_height, box_width = pixels[:, first, torch.arange(len(aspect))]
    room = torch.stack([height - box_height, width - box_width])
    place = (rand(2, len(aspect), draws=draws) * (room + 1)).long().clamp(max=room)
    top, left = torch.where(first == TRIES, room // 2, place)
    return torch.stack([top, left, box_height, box_width], dim=1)


def resized_crop(images: Tensor, boxes: Tensor, flip: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a box of each image to ``size``, bilinear with antialiasing, and flip it left-right if ``flip`` says so.

    :param images: float (batch, channels, height, width).
    :param boxes: top, left, height, width in whole pixels (batch, 4), inside the image.
    :param flip: bool (batch,).
    """
    top, left, height, width = sent(boxes.to(images.dtype), images.device).unbind(1)
    rows = _weights(top, height, images.shape[2], size[0])
    columns = _weights(left, width, images.shape[3], size[1])
    columns = torch.where(sent(flip, images.device)[:, None, None], columns.flip(1), columns)
    return rows[:, None] @ images @ columns.mT[:, None]


def _weights(start: Tensor, length: Tensor, size_in: int, size_out: int) -> Tensor:
    """The share of each old pixel in each new one along one side: (batch, size_out, size_in), rows sum to 1.

    A triangle around the new pixel's centre, cut at the box. It reaches as far as the wider of an old and a new pixel.
    """
    pixels = torch.arange(size_in, device=start.device, dtype=start.dtype) + 0.5
    step = (length / size_out)[:, None]
    centres = start[:, None] + (torch.arange(size_out, device=start.device, dtype=start.dtype) + 0.5) * step
    distance = (pixels - centres[:, :, None]).abs() / step.clamp(min=1)[:, :, None]
    inside = (pixels > start[:, None]) & (pixels < (start + length)[:, None])
    weights = (1 - distance).clamp(min=0) * inside[:, None]
    return weights / weights.sum(2, keepdim=True)
