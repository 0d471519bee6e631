"""SNIP for whole channels."""

from collections.abc import Sequence

from torch import Tensor, nn

from autosparse.channels import Group, channel_groups, select_channels, weight_scores
from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_gradient
from autosparse.criteria.options import Sparsity
from autosparse.masks import Scores, prunable


@criterion(
    "snip-structured",
    needs=("data", "gradients", "channels"),
    paper="Lee et al. 2019, arXiv:1810.02340; van Amersfoort et al. 2020, arXiv:2007.00389",
    mode="train",
)
def snip_structured(model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity) -> Scores:
    """|dL/dc| / sum with one gate c per channel: keep the channels whose removal would change the loss most.

    ``sparsity`` is the share of removable channels that go (see :func:`autosparse.channels.select_channels`). Scores
    are those of :func:`channel_sensitivity`, float32 of the weight's shape, -inf where pruned. In training mode by
    default, as in a SNIP implementation by an author of van Amersfoort et al. (github.com/mil-ad/snip); we found no
    code for that paper itself.
    """
    groups = channel_groups(model)
    scores = channel_sensitivity(model, groups, batches, loss)
    return weight_scores(model, groups, scores, select_channels(groups, scores, sparsity))


def channel_sensitivity(model: nn.Module, groups: Sequence[Group], batches: Batches, loss: Loss) -> list[Tensor]:
    """|dL/dc| at c = 1 per channel, float64, divided by its sum over the network; c gates what is read of the channel.

    c multiplies each weight that reads the channel, in all layers that do. So dL/dc is the sum of theta * dL/dtheta
    over these weights, and c = 0 is the network without the channel. A gate on the weights that compute the channel
    would not do: BatchNorm undoes any such factor, so that its gradient is 0.
    """
    gradient = mean_gradient(model, batches, loss)
    weights = prunable(model)

    def gate_gradient(group: Group) -> Tensor:
        products = [weights[f"{layer}.weight"].detach() * gradient[f"{layer}.weight"] for layer in group.columns]
        return sum(p.double().reshape(len(p), group.size, -1).sum((0, 2)) for p in products)  # type: ignore[return-value]

    return normalised_channels([gate_gradient(group) for group in groups])


def normalised_channels(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Absolute values divided by their sum over all groups, so that they sum to 1; all zeros stay 0."""
    total = sum(float(g.double().abs().sum()) for g in gradients)
    return [g.abs() / (total or 1.0) for g in gradients]
