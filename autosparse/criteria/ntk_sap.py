"""NTK-SAP: weights that matter to the spectrum of the neural tangent kernel, found without data."""

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.options import AtLeastOne, Positive, Sparsity
from autosparse.criteria.rounds import geometric_sparsities, prune_in_rounds, rewinding
from autosparse.criteria.watch import shape_of_input
from autosparse.masks import Masks, Scores
from autosparse.mode import TRAIN, in_mode
from autosparse.models import kaiming_normal_
from autosparse.seeds import generator, kept_generators


@criterion("ntk-sap", needs=("gradients", "rounds"), paper="Wang et al. 2023, arXiv:2304.02840", mode="eval")
def ntk_sap(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    sparsity: Sparsity,
    rounds: AtLeastOne = 20,
    draws: AtLeastOne = 5,
    epsilon: Positive = 0.01,
    examples: AtLeastOne = 100,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
) -> Scores:
    """|d/dm E ||f(x; m theta) - f(x; m (theta + delta))||^2|: how the mask m moves the trace of the tangent kernel.

    The squared change of the outputs under a small Gaussian delta, divided by delta's variance, is to first order the
    trace of the neural tangent kernel (Wang et al.). Inputs x are Gaussian noise, and each of ``draws`` takes a new
    Kaiming-normal theta for all Linear and Conv weights: neither data nor these weights of ``model`` matter, only its
    architecture and what is pruned already. Weights of other layers (ConvTranspose, the input projections of
    ``nn.MultiheadAttention``, normalisation) are those of ``model``. Geometric schedule; a pruned weight does not come
    back. ``batches``, if given, only give the shape of an input.

    Rounds, draws and examples are those of the authors' command for CIFAR-10 (github.com/YiteWang/NTK-SAP: 20, 5, and
    10 inputs a class), and epsilon is their code's default. As there, BatchNorm normalises both outputs by the
    statistics of the noise inputs at the unperturbed weights; in mode ``train`` it uses each output's own.

    Scores are float64 of the weight's shape: the last round's of what stays, -inf elsewhere.

    :param draws: of theta, delta and x in each round; scores are their sums.
    :param epsilon: standard deviation of delta.
    :param examples: number of inputs of each draw.
    :param seed: of all that is drawn.
    :param input_shape: shape of one example; needed if ``batches`` is None.
    """
    input_shape = shape_of_input("ntk-sap", batches, input_shape)
    network = copy.deepcopy(model).double()
    prunable_or_fail(network)

    def score_round(i: int, masks: Masks) -> Scores:
        totals = {name: torch.zeros_like(mask, dtype=torch.float64) for name, mask in masks.items()}
        for draw in range(draws):
            random = generator(seed, "ntk-sap", i, draw)
            with rewinding(network):
                kaiming_normal_(network, random)
                noise = torch.randn(examples, *input_shape, generator=random, dtype=torch.float64)
                for name, g in trace_gradient(network, masks, noise, epsilon, random).items():
                    totals[name] += g
        return {name: total.abs() for name, total in totals.items()}

    return prune_in_rounds(network, geometric_sparsities(sparsity, rounds), score_round)


def trace_gradient(
    network: nn.Module, masks: Masks, inputs: Tensor, epsilon: float, random: torch.Generator
) -> dict[str, Tensor]:
    """The gradient, with respect to the masks, of all outputs' squared change under Gaussian noise on the weights.

    :param network: in float64; in evaluation mode BatchNorm takes the statistics of ``inputs`` for both outputs.
    :param inputs: (n, *shape of one), on any device.
    :param epsilon: standard deviation of the noise.
    :return: a tensor per weight, of its shape; 0 where ``masks`` prune.
    """
    theta = {name: weight.detach() for name, weight in prunable_or_fail(network).items()}
    delta = {
        name: epsilon * torch.randn(w.shape, generator=random, dtype=torch.float64).to(w) for name, w in theta.items()
    }
    gates = {name: masks[name].to(weight).requires_grad_() for name, weight in theta.items()}
    inputs = inputs.to(next(iter(theta.values())))
    if not network.training:
        _take_statistics(network, {name: theta[name] * gates[name].detach() for name in theta}, inputs)
    with kept_generators(inputs.device):  # dropout drops the same units in both passes
        plain = functional_call(network, {name: gates[name] * theta[name] for name in theta}, (inputs,))
    moved = functional_call(network, {name: gates[name] * (theta[name] + delta[name]) for name in theta}, (inputs,))
    change = (plain - moved).square().sum()
    gradients = torch.autograd.grad(change, list(gates.values()), materialize_grads=True)
    return {name: g * masks[name].to(g) for name, g in zip(gates, gradients, strict=True)}


@torch.no_grad()
def _take_statistics(network: nn.Module, weights: dict[str, Tensor], inputs: Tensor) -> None:
    """Set the running statistics of BatchNorm to those of ``inputs``."""
    momenta = {module: module.momentum for module in network.modules() if isinstance(module, _BatchNorm)}
    if not momenta:
        return
    for norm in momenta:
        norm.momentum = 1.0
    with in_mode(network, TRAIN):
        functional_call(network, weights, (inputs,))
    for norm, momentum in momenta.items():
        norm.momentum = momentum
