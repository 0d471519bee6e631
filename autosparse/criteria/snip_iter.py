"""SNIP-iter: iterative rewind pruning by connection sensitivity."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.options import AtLeastOne, Sparsity
from autosparse.criteria.snip import snip
from autosparse.criteria.trained import Training, train_and_rewind
from autosparse.masks import Scores


@criterion(
    "snip-iter",
    needs=("data", "gradients", "training", "rounds"),
    paper="Liu et al. 2024, arXiv:2408.14757, section 4.2 and Figure 6",
    mode="eval",
)
def snip_iter(
    model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity, training: Training, rounds: AtLeastOne = 20
) -> Scores:
    """SNIP of the trained network, in rounds of training, pruning and rewinding to initialisation.

    AutoSparse learns from this procedure (its Algorithm 2 with SNIP); here it prunes the very network that it runs on.
    Do not confuse it with Iter-SNIP, which trains nothing. Geometric schedule; costs ``rounds`` trainings. Scores have
    the weight's shape: the last saliency of what stays, -inf elsewhere. Trained networks are scored in evaluation mode
    by default, as in the authors' code (github.com/ChengYaofeng/AutoSparse, ``prune_train_mode: False``).

    :param training: how to train, e.g. :class:`autosparse.Trainer`.
    """
    kept = list(batches)
    return train_and_rewind(model, sparsity, training, rounds, lambda: snip(model, kept, loss))
