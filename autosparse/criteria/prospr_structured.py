"""ProsPr for whole channels."""

import torch
from torch import nn

from autosparse.channels import channel_groups, select_channels, weight_scores
from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.meta_gradient import FirstBuffer, Inner, InnerOptimizer, meta_gradient
from autosparse.criteria.options import AtLeastOne, Momentum, Positive, Sparsity
from autosparse.criteria.snip_structured import normalised_channels
from autosparse.masks import Scores


@criterion(
    "prospr-structured",
    needs=("data", "gradients", "rounds", "channels"),
    paper="Alizadeh et al. 2022, arXiv:2202.08132, section 4.3",
    mode="train",
)
def prospr_structured(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    sparsity: Sparsity,
    steps: AtLeastOne = 3,
    lr: Positive = 0.1,
    momentum: Momentum = 0.0,
    optimizer: InnerOptimizer = "momentum",
    first_buffer: FirstBuffer = "detached",
    new_data: bool = True,
) -> Scores:
    """|dL(w_M) / dc| / sum with one gate c per channel of w_init, and w_M the weights after M steps of SGD.

    As in ``prospr``, with a mask c of one entry per channel, which multiplies the weights that read the channel at
    initialisation, as in ``snip-structured``. ``sparsity`` is the share of removable channels that go (see
    :func:`autosparse.channels.select_channels`). Scores have the weight's shape, -inf where pruned.

    The authors' command leaves structured pruning out ("coming soon"); the function it would call has the same steps
    as for weights, but gates the weights that compute a channel.

    :param steps, lr, momentum, optimizer, first_buffer, new_data: as in ``prospr``.
    :raises AutosparseError: if the steps diverge.
    """
    groups, weights = channel_groups(model), prunable_or_fail(model)
    like = next(iter(weights.values()))
    gates = [torch.ones(group.size, dtype=like.dtype, device=like.device, requires_grad=True) for group in groups]
    masked = {}
    for group, gate in zip(groups, gates, strict=True):
        for name in (f"{layer}.weight" for layer in group.columns):
            weight = weights[name].detach()
            masked[name] = (weight.reshape(len(weight), group.size, -1) * gate.view(1, -1, 1)).view(weight.shape)
    inner = Inner(steps, lr, momentum, optimizer, first_buffer, new_data)
    scores = normalised_channels(meta_gradient(model, batches, loss, gates, masked, inner))
    return weight_scores(model, groups, scores, select_channels(groups, scores, sparsity))
