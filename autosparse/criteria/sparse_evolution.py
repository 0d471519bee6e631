"""SET: sparse evolutionary training, whose masks change at random."""

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.drop_and_grow import DropFraction, Share, Start, change_of, start_scores
from autosparse.criteria.options import AtLeastOne, Sparsity
from autosparse.criteria.trained import Training, checked
from autosparse.mask_change import step_at
from autosparse.masks import Scores
from autosparse.seeds import generator


@criterion("set", needs=("training", "changing masks"), paper="Mocanu et al. 2018; Evci et al. 2020, arXiv:1911.11134")
def sparse_evolution(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    sparsity: Sparsity,
    training: Training,
    alpha: DropFraction = 0.3,
    every: AtLeastOne = 100,
    until: Share = 0.75,
    start: Start = "erk",
    seed: int = 0,
) -> Scores:
    """Random weights stay; in training, each layer's smallest make way for others at random.

    As ``rigl``, but what grows is drawn uniformly from all that the layer does not keep: SET (Mocanu et al. 2018) with
    the schedule by which Evci et al. compare it with RigL. Mocanu et al. themselves drop a constant share of 0.3 after
    each epoch, half of it the smallest positive and half the largest negative weights.

    The masks returned are those to start from; the final ones come with the training's history. Scores are uniform in
    [0, 1), -inf where pruned.

    :param training: e.g. :class:`autosparse.Trainer`, whose ``finish`` changes the masks on its way.
    :param alpha: share of a layer's weights that would be dropped at the first step.
    :param every: number of steps between changes.
    :param until: share of the training's steps after which the masks stay.
    :param start: ``erk``, the masks of ``random-erk``, or ``uniform``: one density in all layers, the first included.
    :param seed: of the masks to start from and of what grows.
    """
    last = step_at("set", checked(training).steps, until, every, idle=True)

    def at_random(step: int, name: str, gradient: Tensor) -> Tensor:
        return torch.rand(gradient.shape, generator=generator(seed, "set", step, name)).to(gradient.device)

    training.change_masks(change_of(alpha, every, last, at_random))
    return start_scores(model, sparsity, start, seed)
