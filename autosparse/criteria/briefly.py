"""Training a network for a few steps, and setting it back."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss
from autosparse.criteria.rounds import in_turn, rewinding
from autosparse.errors import AutosparseError
from autosparse.masks import Masks
from autosparse.mode import TRAIN, in_mode


@dataclass(frozen=True)
class Steps:
    """How a network is trained for a few steps: SGD, in training mode."""

    count: int
    lr: float = 0.1
    momentum: float = 0.9
    batch_size: int = 128


class Diverged(AutosparseError):
    """A few steps of training that made the loss grow instead of fall."""


@contextlib.contextmanager
def briefly_trained(
    model: nn.Module,
    masks: Masks,
    pieces: Iterator[tuple[Tensor, Tensor]],
    steps: Steps,
    loss: Loss,
    most: float = math.inf,
) -> Iterator[None]:
    """Train ``model`` for the block; after it, every parameter and buffer is back, bit for bit.

    Each step takes the next of ``pieces``. The weights that ``masks`` prune are 0 after every step. Within the block
    the model is in the mode that it was in before.

    :param most: how many times the first loss the last one may be.
    :raises Diverged: if the last loss is more than that, or not finite.
    """
    with rewinding(model):
        losses = []
        with in_mode(model, TRAIN):
            optimizer = torch.optim.SGD(model.parameters(), lr=steps.lr, momentum=steps.momentum)
            masks.hold(model, optimizer)  # for as long as this optimiser lives
            for x, y in islice(pieces, steps.count):
                optimizer.zero_grad(set_to_none=True)
                value = loss(model(x), y)
                value.backward()
                optimizer.step()
                losses.append(value.detach())
        if losses and not (losses[-1].isfinite() and (most == math.inf or losses[-1] <= most * losses[0])):
            raise Diverged(
                f"the {steps.count} steps of training diverge: the loss becomes {losses[-1].item():g} "
                f"(lr {steps.lr:g}, momentum {steps.momentum:g}); take a smaller lr"
            )
        yield


def in_pieces(batches: Batches, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut the batches into pieces of at most ``size`` examples; after the last one, begin again with the first."""
    for x, y in in_turn(batches):
        yield from zip(x.split(size), y.split(size), strict=True)
