"""How well scores or masks agree: concordance correlation, and intersection over union of the kept weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from autosparse.errors import AutosparseError
from autosparse.irp.survival import Survival
from autosparse.masks import Masks


def concordance(x: Tensor, y: Tensor, weight: Tensor | None = None) -> float:
    """Lin's concordance correlation coefficient of paired values, in [-1, 1] (AutoSparse eq. 5; Lin 1989).

    ``2 cov(x, y) / (var x + var y + (mean x - mean y)^2)`` with population moments, in float64. 1 means that the
    two are equal, not just correlated. If one of them is constant, it is 0; if both are the same constant, 1.

    :param x: values of any shape, the same as ``y``.
    :param weight: how much each pair counts, of the same shape; e.g. in samples that are denser in places.
    :raises AutosparseError: if the shapes differ, there are no values, or none counts.
    """
    if x.shape != y.shape or x.numel() == 0:
        raise AutosparseError(f"concordance needs values in pairs; got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    x, y = x.flatten().double(), y.flatten().double()
    if weight is not None:
        counts = weight.flatten() != 0
        x, y, weight = x[counts], y[counts], weight.flatten()[counts].double()
        if not counts.any():
            raise AutosparseError("concordance needs a pair that counts; all weights are 0")
    share = torch.ones_like(x) if weight is None else weight
    share = share / share.sum()
    x_mean, y_mean = share @ x, share @ y
    covariance = share @ ((x - x_mean) * (y - y_mean))
    spread = share @ (x - x_mean).square() + share @ (y - y_mean).square() + (x_mean - y_mean).square()
    return 1.0 if torch.equal(x, y) else (2 * covariance / spread).item()


def survival_concordance(a: Survival, b: Survival) -> float:
    """:func:`concordance` of the survival scores of two IRP runs on the same network (AutoSparse Table 9).

    :raises AutosparseError: if the runs do not have the same layers.
    """
    if {name: p.shape for name, p in a.param.items()} != {name: p.shape for name, p in b.param.items()}:
        raise AutosparseError(
            "survival scores of different networks cannot be compared weight by weight: "
            f"{a.provenance.get('model', 'one')} has {a.rows} weights in {len(a.param)} layers, "
            f"{b.provenance.get('model', 'the other')} {b.rows} in {len(b.param)}"
        )
    first, second = a.scores(), b.scores()
    joined = [torch.cat([scores[name].flatten() for name in first]) for scores in (first, second)]
    return concordance(*joined)


def iou(a: Masks, b: Masks) -> float:
    """Weights that both keep, as a share of those that either keeps, over the whole network; in [0, 1].

    Two masks that keep nothing agree: 1. By chance, two masks of density d that are independent have ``d / (2 - d)``.

    :raises AutosparseError: if the masks are not of one network.
    """
    counts = _counts(a, b).values()
    return _ratio(sum(both for both, _ in counts), sum(either for _, either in counts))


def iou_by_layer(a: Masks, b: Masks) -> dict[str, float]:
    """:func:`iou` of each layer, by the name of its weight."""
    return {name: _ratio(*counts) for name, counts in _counts(a, b).items()}


def overlap(masks: Mapping[str, Masks]) -> dict[str, dict[str, float]]:
    """:func:`iou` of each pair of named masks, such as those of several methods: ``overlap(masks)[one][other]``."""
    return {one: {other: iou(masks[one], masks[other]) for other in masks} for one in masks}


def _counts(a: Masks, b: Masks) -> dict[str, tuple[int, int]]:
    """Per layer, how many weights both masks keep, and how many either."""
    if {name: mask.shape for name, mask in a.items()} != {name: mask.shape for name, mask in b.items()}:
        raise AutosparseError(f"masks of different networks cannot be compared: {a!r} and {b!r}")
    pairs = {name: (mask, b[name].to(mask.device)) for name, mask in a.items()}
    return {name: (int((one & other).sum()), int((one | other).sum())) for name, (one, other) in pairs.items()}


def _ratio(both: int, either: int) -> float:
    return both / either if either else 1.0
