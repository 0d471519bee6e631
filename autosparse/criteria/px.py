"""Path eXclusion: paths that matter to the trace of the neural tangent kernel on the data."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gates import Gates, Kinks
from autosparse.criteria.gradients import prunable_or_fail, restored
from autosparse.criteria.options import AtLeastOne, Sparsity
from autosparse.criteria.rounds import geometric_sparsities, in_turn, prune_in_rounds
from autosparse.criteria.synflow import float64_copy
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, Scores, prunable

NEAR = 1e-6
"""How far from linear a network with held gates may be, relative to its outputs."""


@criterion("px", needs=("data", "gradients", "rounds"), paper="Iurada et al. 2024, arXiv:2406.01820", mode="eval")
def px(model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity, rounds: AtLeastOne = 100) -> Scores:
    """theta^2 * dR/d(theta^2) with R = sum of the path kernel's flow times the activations of the paths on the data.

    R bounds the trace of the neural tangent kernel (Iurada et al.). For each output it multiplies two sums over the
    output's paths. The first is over the products of the paths' squared weights: a network without activations computes
    it on an all-ones input. The second is over the squared inputs of the paths on which every unit is active. A network
    computes it: its kept weights are 1, and its units are active exactly where those of ``model`` are. Only the first
    is differentiated. Labels and loss do not matter.

    Geometric schedule, 100 rounds as in the authors' command; a pruned weight does not come back. Each round takes the
    next batch; the authors take a class-balanced subset. As in their code (github.com/iurada/px-ntk-pruning,
    lib/pruners.py) a leaky unit counts as inactive if its input is not positive, and max-pooling takes each network's
    own maximum. Unlike in their code, the last layer and BatchNorm's scale are squared like the rest, and biases and
    means, which begin no path at the input, are 0. The two networks are in evaluation mode; ``mode`` is the mode in
    which ``model`` says which units are active.

    Scores are float64 of the weight's shape: the last round's of what stays, -inf elsewhere.

    :raises AutosparseError: on a network that is not linear between its ReLU-like units: with other activations
        (GELU, tanh), attention or LayerNorm there are no such paths.
    """
    data, network = in_turn(batches), copy.deepcopy(model).double()
    prunable_or_fail(network)

    def score_round(i: int, masks: Masks) -> Scores:
        x = next(data)[0].double()
        if i == 0:
            _require_linear(network, x[:1])
        return path_scores(network, masks, x)

    return prune_in_rounds(network, geometric_sparsities(sparsity, rounds), score_round)


def path_scores(network: nn.Module, masks: Masks, x: Tensor) -> Scores:
    """The scores of one batch, float64.

    :param network: in float64, its pruned weights 0.
    :param x: inputs (n, *shape of one), float64.
    """
    gates = Gates()
    with torch.no_grad(), restored(network.buffers()), gates.recording():
        network(x)
    active, flowing = _with_ones(network, masks), _without_shifts(float64_copy(network, Tensor.square_))
    with torch.no_grad(), gates.held():
        of_data = active(x.square())
    weights = prunable(flowing)
    with gates.open():
        of_weights = flowing(torch.ones_like(x[:1]))
    flow = torch.autograd.grad((of_data * of_weights).sum(), list(weights.values()), materialize_grads=True)
    return {name: (weight.detach() * g).abs() for (name, weight), g in zip(weights.items(), flow, strict=True)}


def _with_ones(network: nn.Module, masks: Masks) -> nn.Module:
    """A copy in evaluation mode whose kept weights are 1, and whose normalisation does nothing."""
    ones = _without_shifts(copy.deepcopy(network))
    with torch.no_grad():
        for name, weight in prunable(ones).items():
            weight.copy_(masks[name])
        for norm in _norms(ones):
            for scale in (norm.weight, norm.running_var):
                if scale is not None:
                    scale.fill_(1.0)
    return ones


@torch.no_grad()
def _without_shifts(network: nn.Module) -> nn.Module:
    """``network`` in evaluation mode with all biases and running means set to 0, in place."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    for norm in _norms(network):
        if norm.running_mean is not None:
            norm.running_mean.zero_()
    return network.eval()


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@torch.no_grad()
def _require_linear(network: nn.Module, x: Tensor) -> None:
    """Raise if the network with its gates held bends, or does not double its outputs when its input doubles."""
    plain, gates, kinks = _without_shifts(copy.deepcopy(network)), Gates(), Kinks()
    with gates.recording(), kinks:
        plain(x)
    with gates.held():
        once = plain(x)
    with gates.held():
        twice = plain(2 * x)
    if kinks.names or not torch.allclose(twice, 2 * once, rtol=NEAR, atol=NEAR * float(once.abs().max())):
        raise AutosparseError(
            f"criterion 'px' cannot linearise {type(network).__name__}: it holds more than ReLU-like units between "
            "linear layers (such as GELU, PReLU, clamp, attention or LayerNorm); take another criterion for this "
            "network"
        )
