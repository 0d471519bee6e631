"""3SP: single-shot structured pruning, SNIP for channels per unit of compute; weights stay, are redrawn or rescaled."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autosparse.channels import Group, channel_costs, channel_groups, select_channels, weight_scores
from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.options import Sparsity
from autosparse.criteria.snip_structured import channel_sensitivity
from autosparse.masks import Scores
from autosparse.models import kaiming_normal_
from autosparse.seeds import generator

NEEDS = ("data", "gradients", "channels")
PAPER = "van Amersfoort et al. 2020, arXiv:2007.00389"


@criterion("3sp", needs=NEEDS, paper=PAPER, mode="train")
def three_sp(model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity) -> Scores:
    """|dL/dc| / cost with one gate c per channel: whole channels that matter most for their compute stay.

    The sensitivity is that of ``snip-structured``, and the cost is the number of multiply-accumulates that the channel
    takes in all layers that compute or read it: sensitivity per operation saved. ``sparsity`` is the share of removable
    channels that go (see :func:`autosparse.channels.select_channels`). Scores have the weight's shape, -inf where
    pruned. In training mode by default, like ``snip-structured``.
    """
    return _three_sp(model, batches, loss, sparsity)[0]


@criterion("3sp-reinit", needs=NEEDS, paper=PAPER, mode="train", changes_weights=True)
def three_sp_reinit(model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity, seed: int = 0) -> Scores:
    """Score as ``3sp`` does, then redraw the model's weights, Kaiming-normal for the inputs that are left.

    All weights change, in place: standard deviation sqrt(2 / fan-in) with the fan-in of the pruned layer; biases
    become 0. Scores are those of ``3sp``.

    :param seed: of the new weights.
    """
    scores, groups, kept = _three_sp(model, batches, loss, sparsity)
    kaiming_normal_(model, generator(seed, "3sp-reinit"))
    rescale_(model, groups, kept)
    return scores


@criterion("3sp-rescale", needs=NEEDS, paper=PAPER, mode="train", changes_weights=True)
def three_sp_rescale(model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity) -> Scores:
    """Score as ``3sp`` does, then scale the model's weights up to the variance that suits the inputs that are left.

    In place, the weights of each layer are multiplied by sqrt(inputs before / inputs after). Scores are those of
    ``3sp``.
    """
    scores, groups, kept = _three_sp(model, batches, loss, sparsity)
    rescale_(model, groups, kept)
    return scores


def _three_sp(
    model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity
) -> tuple[Scores, list[Group], list[Tensor]]:
    batches = list(batches)
    groups = channel_groups(model)
    sensitivity = channel_sensitivity(model, groups, batches, loss)
    costs = channel_costs(model, groups, batches[0][0][:1])
    scores = [s / cost for s, cost in zip(sensitivity, costs, strict=True)]
    kept = select_channels(groups, scores, sparsity)
    return weight_scores(model, groups, scores, kept), groups, kept


@torch.no_grad()
def rescale_(model: nn.Module, groups: Sequence[Group], kept: Sequence[Tensor]) -> None:
    """Multiply the weights that read a group by sqrt(its channels / those kept): Var(w) * fan-in is as before."""
    for group, keep in zip(groups, kept, strict=True):
        for layer in group.columns:
            model.get_submodule(layer).get_parameter("weight").mul_(math.sqrt(group.size / int(keep.sum())))
