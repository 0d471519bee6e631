"""RigL: sparse training whose masks follow the gradient."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.drop_and_grow import DropFraction, Share, Start, change_of, start_scores
from autosparse.criteria.options import AtLeastOne, Sparsity
from autosparse.criteria.trained import Training, checked
from autosparse.mask_change import step_at
from autosparse.masks import Scores


@criterion("rigl", needs=("training", "changing masks"), paper="Evci et al. 2020, arXiv:1911.11134")
def rigl(
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
    """Random weights stay; in training, each layer's smallest make way for those with the largest gradient.

    After every ``every`` steps each layer drops the share alpha / 2 (1 + cos(pi t / T)) of its weights, the smallest,
    and grows as many: those with the largest gradients on that step's batch among all that it does not keep (Evci et
    al., Algorithm 1, with its defaults). Grown weights begin at 0 with an empty state of the optimiser. In the paper
    such a step only changes the masks; here it first trains like any other, so that all methods train for as many
    steps.

    The masks returned are those to start from; the final ones come with the training's history. Each layer has as
    many weights at every step as at the start. Scores are uniform in [0, 1), -inf where pruned.

    :param training: e.g. :class:`autosparse.Trainer`, whose ``finish`` changes the masks on its way.
    :param alpha: share of a layer's weights that would be dropped at the first step.
    :param until: share of the training's steps after which the masks stay (T).
    :param start: ``erk``, the masks of ``random-erk``, or ``uniform``: one density in all layers, the first included.
    :param seed: of the masks to start from.
    """
    last = step_at("rigl", checked(training).steps, until, every, idle=True)
    training.change_masks(change_of(alpha, every, last, lambda step, name, gradient: gradient.abs()))
    return start_scores(model, sparsity, start, seed)
