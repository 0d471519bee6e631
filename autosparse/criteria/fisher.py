"""Curvature times weight squared: the loss that a weight's removal costs to second order."""

from typing import Annotated

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.by_features import first_examples
from autosparse.criteria.gradients import mean_gradient, mean_score, prunable_or_fail, restored, twice_differentiable
from autosparse.criteria.options import AtLeastOne, Count, OneOf, Positive
from autosparse.errors import AutosparseError
from autosparse.masks import Scores
from autosparse.mode import TRAIN, in_mode
from autosparse.seeds import generator

Diagonal = Annotated[str, OneOf(("fisher", "hutchinson"))]
FLAT = 200.0
"""The temperature at which the authors' code takes the Hessian."""


@criterion(
    "fisher",
    needs=("data", "gradients", "hessian-vector products"),
    paper="Gollini Navarrete et al. 2025, arXiv:2502.11450; LeCun et al. 1989 (OBD)",
    mode="eval",
)
def fisher(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    diagonal: Diagonal = "fisher",
    examples: AtLeastOne | None = 100,
    batch_size: AtLeastOne = 1,
    warm_up: Count = 0,
    probes: AtLeastOne = 10,
    temperature: Positive | None = None,
    seed: int = 0,
) -> Scores:
    """theta^2 h / 2 with h the diagonal of the empirical Fisher matrix or, by Hutchinson's estimate, of the Hessian.

    The Fisher diagonal is the mean over pieces of ``batch_size`` examples of the squared gradient; with 1, as in the
    authors' code, it is the empirical Fisher information of single examples. Hutchinson's estimate is the mean of
    z * (H z) over pieces and over ``probes`` random z of +1 and -1; it may be negative, and a weight whose removal
    lowers the loss then goes first. Scores have the weight's shape. In evaluation mode by default, as in the authors'
    code (github.com/Gollini/Scalable_Second_Order_PaI, compressors.py).

    In formulas the name ``fisher`` stands for the feature, the root of the mean square over whole batches.

    :param examples: number of examples, from the first on, each taken once; None: all. The authors take 10 of
        each class.
    :param warm_up: passes over all batches in training mode beforehand, which only update the statistics of BatchNorm
        (as the paper does against layer collapse). They are set back afterwards.
    :param probes: number of random vectors per piece; ``diagonal: fisher`` draws none.
    :param temperature: divides the logits; None: as in the authors' code, 1 for ``fisher`` and 200 for
        ``hutchinson``.
    :param seed: of the random vectors.
    """
    kept = list(batches)
    weights = prunable_or_fail(model)
    heat = temperature or (1.0 if diagonal == "fisher" else FLAT)

    def tempered(logits: Tensor, y: Tensor) -> Tensor:
        return loss(logits / heat, y)

    draws = generator(seed, "fisher probes")
    with restored(model.buffers()):
        _warm_up(model, kept, warm_up)

        def curvature_on(piece: tuple[Tensor, Tensor]) -> Scores:
            if diagonal == "fisher":
                return {name: g.square() for name, g in mean_gradient(model, [piece], tempered).items()}
            return hutchinson_diagonal(model, weights, piece, tempered, probes, draws)

        pieces = (
            piece
            for x, y in first_examples(kept, examples)
            for piece in zip(x.split(batch_size), y.split(batch_size), strict=True)
        )
        curvature = mean_score(curvature_on, pieces)
    return {name: weights[name].detach().square() * h / 2 for name, h in curvature.items()}


def hutchinson_diagonal(
    model: nn.Module,
    weights: dict[str, nn.Parameter],
    piece: tuple[Tensor, Tensor],
    loss: Loss,
    probes: int,
    draws: torch.Generator,
) -> Scores:
    """Mean of z * (H z) over random vectors z of +1 and -1: an unbiased estimate of the diagonal of the Hessian H.

    :param weights: those with respect to which the loss is differentiated; H covers no others.
    :param draws: a CPU generator.
    :return: at least float32, of the weights' shapes. A weight that the loss does not depend on gets 0.
    """
    x, y = piece
    parameters = list(weights.values())
    totals = [torch.zeros_like(w, dtype=torch.promote_types(w.dtype, torch.float32)) for w in parameters]
    with restored(model.buffers()), twice_differentiable():
        gradient = torch.autograd.grad(loss(model(x), y), parameters, create_graph=True, materialize_grads=True)
        for _ in range(probes):
            signs = [(2 * torch.randint(2, weight.shape, generator=draws) - 1).to(weight) for weight in parameters]
            along = torch.stack([(g * z).sum() for g, z in zip(gradient, signs, strict=True)]).sum()
            products = torch.autograd.grad(along, parameters, retain_graph=True, materialize_grads=True)
            for total, z, product in zip(totals, signs, products, strict=True):
                total.add_(z * product)
    return {name: total / probes for name, total in zip(weights, totals, strict=True)}


@torch.no_grad()
def _warm_up(model: nn.Module, batches: list[tuple[Tensor, Tensor]], passes: int) -> None:
    """Run the network on the batches in training mode, so that BatchNorm's running statistics become the data's."""
    if passes and not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        raise AutosparseError("criterion 'fisher': warm_up updates BatchNorm, and this network has none; leave it out")
    with in_mode(model, TRAIN):
        for _ in range(passes):
            for x, _ in batches:
                model(x)
