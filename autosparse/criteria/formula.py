"""A formula of features as a criterion: what a scorer has learned, written down, or a guess to try."""

from typing import Annotated

from torch import Tensor, nn

from autosparse.allowed import Allowed
from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.briefly import Steps
from autosparse.criteria.by_features import InRounds, prune_by_features
from autosparse.criteria.expression import parse
from autosparse.criteria.features.find import find_feature
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.options import AtLeastOne, Count, Momentum, Positive, Sparsity
from autosparse.errors import AutosparseError
from autosparse.masks import Scores


class _Readable(Allowed):
    """Texts that parse as an expression of features; for any other, the error says what is wrong with it."""

    def __contains__(self, value: str) -> bool:
        parse(value, find_feature)
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
    examples: AtLeastOne | None = None,
    revive: bool = False,
) -> Scores:
    """The value of an expression of features, such as ``log_param + 0.5 * activation``; the highest stay.

    In each round the features are those of the network as masked so far; the schedule is geometric. The names are those
    of :data:`autosparse.criteria.features.FEATURES`, or of criteria. ``log_product`` alone is SNIP, in rounds.

    If the expression reads features measured after training, such as ``trained``, each round first takes ``steps``
    steps of SGD in training mode, and then sets everything back. A round then costs ``steps * batch_size`` examples,
    and a pass over ``batches`` for each kind of feature. Scores have the weight's shape: the last round's for what
    stays, -inf elsewhere.

    :param expression: see :class:`autosparse.criteria.expression.Expression`; it is parsed, never evaluated as code.
    :param steps, lr, momentum, batch_size: as in ``early``.
    :param examples: number of examples for gradients and activations, from the first on; None: all.
    :param revive: whether what a round prunes may come back in a later one.
    :raises AutosparseError: if the expression cannot be read, holds an unknown name, or is not finite at some weight.
    """
    parsed = parse(expression, find_feature)
    weights = prunable_or_fail(model)

    def judge(name: str, i: int, columns: dict[str, Tensor]) -> Tensor:
        scores = parsed(columns)
        if wrong := int((~scores.isfinite()).sum()):
            raise AutosparseError(
                f"expression {expression!r} is not finite at {wrong} of the {weights[name].numel()} weights of "
                f"{name!r} in round {i}: avoid log and ** of what may be negative, and division by what may be 0"
            )
        return scores

    how = InRounds(rounds, Steps(steps, lr, momentum, batch_size), examples, revive)
    names = sorted(parsed.names)
    return prune_by_features(model, batches, loss, sparsity, names, judge, how, f"expression {expression!r}")
