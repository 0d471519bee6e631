"""How well two sets of scores agree: the concordance correlation coefficient."""

import torch
from torch import Tensor

from autosparse.errors import AutosparseError
from autosparse.irp.survival import Survival


def concordance(x: Tensor, y: Tensor, weight: Tensor | None = None) -> float:
    """Lin's concordance correlation coefficient of paired values, in [-1, 1] (AutoSparse eq. 5; Lin 1989).

    ``2 cov(x, y) / (var x + var y + (mean x - mean y)^2)`` with population moments, in float64. 1 means that the
    two are equal, not just correlated. If one of them is constant, it is 0; if both are the same constant, 1.

    :param x: of any shape, that of ``y``.
    :param weight: how much each pair counts, of the same shape; e.g. in samples that are denser in places.
    :raises AutosparseError: if the shapes differ or there are no values.
    """
    if x.shape != y.shape or x.numel() == 0:
        raise AutosparseError(f"concordance needs values in pairs; got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    x, y = x.flatten().double(), y.flatten().double()
    share = torch.ones_like(x) if weight is None else weight.flatten().double()
    share = share / share.sum()
    x_mean, y_mean = share @ x, share @ y
    covariance = share @ ((x - x_mean) * (y - y_mean))
    spread = share @ (x - x_mean).square() + share @ (y - y_mean).square() + (x_mean - y_mean).square()
    return 1.0 if torch.equal(x, y) else (2 * covariance / spread).item()


def survival_concordance(a: Survival, b: Survival) -> float:
    """:func:`concordance` of the survival scores of two IRP runs on the same network (AutoSparse Table 9).

    :raises AutosparseError: if the runs do not have the same layers.
    """
    if _shapes(a) != _shapes(b):
        raise AutosparseError(
            "survival scores of different networks cannot be compared weight by weight: "
            f"{a.provenance.get('model', 'one')} has {a.rows} weights in {len(a.param)} layers, "
            f"{b.provenance.get('model', 'the other')} {b.rows} in {len(b.param)}"
        )
    first, second = a.scores(), b.scores()
    joined = [torch.cat([scores[name].flatten() for name in first]) for scores in (first, second)]
    return concordance(*joined)


def _shapes(survival: Survival) -> dict[str, tuple[int, ...]]:
    return {name: tuple(param.shape) for name, param in survival.param.items()}
