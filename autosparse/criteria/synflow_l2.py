"""SynFlow-L2: iterative synaptic flow through the squared network, without data."""

from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.options import AtLeastOne, Sparsity
from autosparse.criteria.synflow import float64_copy, prune_by_flow
from autosparse.masks import Scores


@criterion(
    "synflow-l2",
    needs=("gradients", "rounds"),
    paper="Gebhart et al. 2021, arXiv:2101.10552; Iurada et al. 2024, arXiv:2406.01820",
    mode="eval",
)
def synflow_l2(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    sparsity: Sparsity,
    rounds: AtLeastOne = 100,
    input_shape: tuple[int, ...] | None = None,
) -> Scores:
    """theta^2 * dR/d(theta^2) with R the summed output of the squared network on an all-ones input.

    R is the sum over all paths of the product of their squared weights. Its derivatives with respect to the squared
    weights sum to the trace of the path kernel (Gebhart et al.). The network is a float64 copy with the square of every
    parameter and buffer; geometric schedule, a pruned weight does not come back. In evaluation mode by default, as in
    the code of the comparison by Iurada et al. (github.com/iurada/px-ntk-pruning, lib/pruners.py). That code
    multiplies the gradient by |theta|; here it is theta^2, which gives the sum over the paths through the weight and
    conserves the flow.
    No data are used: ``batches``, if given, only give the shape of an input. Scores are float64 of the weight's
    shape: the last round's flow of what stays, -inf elsewhere.

    :param input_shape: shape of one example; needed if ``batches`` is None.
    """
    return prune_by_flow("synflow-l2", float64_copy(model, Tensor.square_), batches, sparsity, rounds, input_shape)
