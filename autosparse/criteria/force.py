"""FORCE: foresight connection sensitivity."""

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_gradient
from autosparse.criteria.options import AtLeastOne, Sparsity
from autosparse.criteria.rounds import geometric_sparsities, in_turn, prune_in_rounds, weights_of
from autosparse.masks import Scores


@criterion("force", needs=("data", "gradients", "rounds"), paper="de Jorge et al. 2021, arXiv:2006.09081", mode="train")
def force(model: nn.Module, batches: Batches, loss: Loss, sparsity: Sparsity, rounds: AtLeastOne = 60) -> Scores:
    """|theta * dL/dtheta at the pruned network|, round by round; a pruned weight may come back.

    theta is the weight at initialisation, even if it is pruned by now. The gradient is that of the network as pruned so
    far, so that a weight whose return would help scores high (de Jorge et al. eq. 6). Geometric schedule as in
    Iter-SNIP; each round takes the next batch. Scores have the weight's shape, -inf where the last round prunes.
    In training mode by default, as in the authors' code (github.com/naver/force).
    """
    data, initial = in_turn(batches), weights_of(model)

    def score_round(*_: object) -> Scores:
        gradient = mean_gradient(model, [next(data)], loss)
        return {name: (initial[name] * g).abs() for name, g in gradient.items()}

    return prune_in_rounds(model, geometric_sparsities(sparsity, rounds), score_round, revive=True)
