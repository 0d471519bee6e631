"""A formula of features as a criterion: what a scorer has learned, written down, or a guess to be tried."""

from typing import Annotated

from torch import nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.briefly import Steps, in_pieces
from autosparse.criteria.expression import parse
from autosparse.criteria.features import FEATURES
from autosparse.criteria.features.state import State
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.options import AtLeastOne, Count, Momentum, Positive, Sparsity
from autosparse.criteria.rounds import geometric_sparsities, prune_in_rounds
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, Scores


class _Readable:
    """What can be parsed as an expression of features; otherwise the error says what is wrong with it."""

    def __contains__(self, value: str) -> bool:
        parse(value, FEATURES.__getitem__)
        return True

    def __str__(self) -> str:
        return "an expression of features"


@criterion(
    "formula",
    needs=("data", "gradients", "rounds"),
    paper="ours: any formula of features, after AutoSparse's learned one (Liu et al. 2024, arXiv:2408.14757)",
    mode="eval",
)
def formula(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    sparsity: Sparsity,
    expression: Annotated[str, _Readable()] = "log_product",
    rounds: AtLeastOne = 1,
    steps: Count = 0,
    lr: Positive = 0.1,
    momentum: Momentum = 0.9,
    batch_size: AtLeastOne = 128,
) -> Scores:
    """The value of an expression of features, such as ``log_param + 0.5 * activation``; the highest stay.

    In each round the features are those of the network as masked so far; the schedule is geometric. The names are those
    of :data:`autosparse.criteria.features.FEATURES`. ``log_product`` alone is SNIP, in rounds.

    If the expression reads features after training, such as ``trained``, each round takes ``steps`` steps of SGD in
    training mode first, and sets everything back. A round then costs ``steps * batch_size`` examples, and a pass over
    ``batches`` for each kind of feature. Scores have the weight's shape: the last round's for what stays, -inf
    elsewhere.

    :param expression: see :class:`autosparse.criteria.expression.Expression`; it is parsed, never evaluated as code.
    :param steps, lr, momentum, batch_size: as in ``early``.
    :raises AutosparseError: if the expression cannot be read, holds an unknown name, or is not finite at some weight.
    """
    parsed = parse(expression, FEATURES.__getitem__)
    chosen = {name: FEATURES[name] for name in parsed.names}
    trains = any("steps" in feature.needs for feature in chosen.values())
    if trains and not steps:
        raise AutosparseError(f"expression {expression!r} reads features after training: set steps to 1 or more")
    batches = list(batches)
    brief, pieces = Steps(steps, lr, momentum, batch_size), in_pieces(batches, batch_size)
    device = next(iter(prunable_or_fail(model).values())).device

    def score_round(i: int, masks: Masks) -> Scores:
        state = State(model, masks, batches, loss, steps=brief, pieces=pieces)
        scores = {}
        for name, mask in masks.items():
            values = {own: feature.compute(state, name).to(device) for own, feature in chosen.items()}
            # what is pruned scores 0: its features need not be finite, and it does not come back
            scores[name] = parsed(values).expand(mask.shape).masked_fill(~mask, 0.0)
            if wrong := int((~scores[name].isfinite()).sum()):
                raise AutosparseError(
                    f"expression {expression!r} is not finite at {wrong} of the {mask.numel()} weights of {name!r} in "
                    f"round {i + 1}: avoid log and ** of what may be negative, and division by what may be 0"
                )
        return scores

    return prune_in_rounds(model, geometric_sparsities(sparsity, rounds), score_round)
