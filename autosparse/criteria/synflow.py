"""SynFlow: iterative synaptic flow, without data."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.options import AtLeastOne, Sparsity
from autosparse.criteria.rounds import geometric_sparsities, prune_in_rounds
from autosparse.criteria.watch import shape_of_input
from autosparse.masks import Scores


@criterion(
    "synflow", needs=("gradients", "rounds"), paper="Tanaka et al. 2020, arXiv:2006.05467", revision=2, mode="eval"
)
def synflow(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    sparsity: Sparsity,
    rounds: AtLeastOne = 100,
    input_shape: tuple[int, ...] | None = None,
) -> Scores:
    """|theta * dR/dtheta| with R the summed output of |network| on an all-ones input: flow through each weight.

    The network is a float64 copy (deep networks overflow float32) with the absolute value of every parameter and buffer
    (Tanaka et al. eq. 2, Algorithm 1); geometric schedule, a pruned weight does not come back. In evaluation mode by
    default, as in the authors' code (github.com/ganguli-lab/Synaptic-Flow, prune.py).
    The outer absolute value is that code's, too. It matters only if a layer makes one unit's output fall as
    another's rises, as LayerNorm, RMSNorm and softmax do; elsewhere the product is never negative.
    No data are used: ``batches``, if given, only give the shape of an input. Scores are float64 of the weight's
    shape: the last round's flow of what stays, -inf elsewhere.

    :param input_shape: shape of one example; needed if ``batches`` is None.
    """
    return prune_by_flow("synflow", float64_copy(model, Tensor.abs_), batches, sparsity, rounds, input_shape)


def prune_by_flow(
    criterion: str,
    network: nn.Module,
    batches: Batches | None,
    sparsity: float,
    rounds: int,
    input_shape: tuple[int, ...] | None,
) -> Scores:
    """Prune ``network`` by its synaptic flow, taken anew in each of ``rounds`` on a geometric schedule.

    :param criterion: the name to call it by if the shape of an input is not known.
    :return: the last round's flow of what stays, -inf elsewhere.
    """
    shape = shape_of_input(criterion, batches, input_shape)
    return prune_in_rounds(network, geometric_sparsities(sparsity, rounds), lambda *_: synaptic_flow(network, shape))


def float64_copy(model: nn.Module, change_: Callable[[Tensor], Tensor]) -> nn.Module:
    """A float64 copy of ``model`` in which ``change_`` has changed each parameter and buffer of floats in place."""
    copied = copy.deepcopy(model).double()
    with torch.no_grad():
        for tensor in (*copied.parameters(), *copied.buffers()):
            if tensor.is_floating_point():
                change_(tensor)
    return copied


def synaptic_flow(linear: nn.Module, input_shape: tuple[int, ...]) -> Scores:
    """|theta * dR/dtheta| of every prunable weight of a network whose numbers are float64 and at least 0; float64."""
    weights = prunable_or_fail(linear)
    ones = torch.ones(1, *input_shape, dtype=torch.float64, device=next(iter(weights.values())).device)
    flow = torch.autograd.grad(linear(ones).sum(), list(weights.values()), materialize_grads=True)
    return {name: (weight.detach() * g).abs() for (name, weight), g in zip(weights.items(), flow, strict=True)}
