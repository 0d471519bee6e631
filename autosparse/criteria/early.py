"""Early pruning: rounds of a few steps of training, rewound; a hand-made control for learned scorers."""

from typing import Annotated

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.briefly import Steps, briefly_trained, in_pieces
from autosparse.criteria.gradients import mean_gradient, prunable_or_fail
from autosparse.criteria.magnitude import magnitude
from autosparse.criteria.options import AtLeastOne, Count, Momentum, OneOf, Positive, Sparsity
from autosparse.criteria.rounds import geometric_sparsities, in_turn, prune_in_rounds, weights_of
from autosparse.masks import Masks, Scores

By = Annotated[str, OneOf(("magnitude", "snip", "rewound-snip"))]
"""|theta_k|, |theta_k g_k| or |theta_0 g_k|."""


@criterion(
    "early",
    needs=("data", "gradients", "rounds"),
    paper="a control of ours: Frankle & Carbin 2019, arXiv:1803.03635, with k steps for each training",
    mode="train",
)
def early(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    sparsity: Sparsity,
    rounds: AtLeastOne = 10,
    steps: Count = 10,
    by: By = "magnitude",
    lr: Positive = 0.1,
    momentum: Momentum = 0.9,
    batch_size: AtLeastOne = 128,
) -> Scores:
    """|theta_k|, |theta_k g_k| or |theta_0 g_k| after k steps of training, in rounds that rewind to initialisation.

    In each round the network as masked so far takes ``steps`` steps of SGD in training mode, is scored, pruned, and set
    back; the schedule is geometric, and a pruned weight does not come back. g_k is the gradient on the next whole batch
    after the steps. It costs ``rounds * steps * batch_size`` examples and, if ``by`` reads gradients, a batch a round.
    Scores have the weight's shape: the last round's for what stays, -inf elsewhere.

    :param by: ``magnitude`` for |theta_k|, ``snip`` for |theta_k g_k|, ``rewound-snip`` for |theta_0 g_k|.
    :raises AutosparseError: if the steps diverge.
    """
    brief = Steps(steps, lr, momentum, batch_size)
    kept = list(batches)
    pieces, whole = in_pieces(kept, batch_size), in_turn(kept)
    current = prunable_or_fail(model)
    weights = weights_of(model) if by == "rewound-snip" else current

    def score_round(_: int, masks: Masks) -> Scores:
        with briefly_trained(model, masks, pieces, brief, loss):
            if by == "magnitude":
                return magnitude(model, kept, loss)
            gradient = mean_gradient(model, [next(whole)], loss)
            return {name: (weights[name].detach() * g).abs() for name, g in gradient.items()}

    return prune_in_rounds(model, geometric_sparsities(sparsity, rounds), score_round)
