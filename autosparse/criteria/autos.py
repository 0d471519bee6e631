"""AutoS: the learned scorer as a criterion."""

from typing import Protocol

from torch import Tensor, nn

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import mean_gradient
from autosparse.errors import AutosparseError
from autosparse.masks import Scores, prunable


class PredictsSurvival(Protocol):
    """What the criterion asks of a scorer (:class:`autosparse.autos.Scorer` is one)."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Which features it reads, of ``param`` and ``grad``."""

    def predict(self, features: dict[str, Tensor]) -> Tensor:
        """Features of shape (n,) -> predicted survival score (n,)."""


@criterion("autos", needs=("gradients", "scorer"), paper="Liu et al. 2024, arXiv:2408.14757, Algorithm 1 and eq. 3")
def autos(model: nn.Module, batches: Batches | None, loss: Loss, scorer: PredictsSurvival) -> Scores:
    """AutoS(theta_0, g_0): weights that are predicted to survive iterative pruning longest stay.

    theta_0 are the model's weights as they are, g_0 the gradient of the mean loss over all batches. Scores are
    float32 of the weight's shape, roughly within [0, 1]. A scorer that reads only ``param`` needs no data.

    :param scorer: from :func:`autosparse.load_scorer` or :func:`autosparse.fit_scorer`.
    """
    if not hasattr(scorer, "predict"):
        raise AutosparseError(
            f"criterion 'autos' needs a scorer, this is {scorer!r}: pass what load_scorer or fit_scorer returns"
        )
    weights = prunable(model)
    gradient: dict[str, Tensor] = {}
    if "grad" in scorer.inputs:
        if batches is None:
            raise AutosparseError("this scorer reads gradients and needs data: pass batches, an iterable of (x, y)")
        gradient = mean_gradient(model, batches, loss)
    scores: Scores = {}
    for name, weight in weights.items():
        features = {"param": weight.detach().flatten()}
        if gradient:
            features["grad"] = gradient[name].flatten()
        scores[name] = scorer.predict(features).view_as(weight)
    return scores
