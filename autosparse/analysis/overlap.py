"""How well masks agree: intersection over union of the weights they keep."""

from collections.abc import Mapping

from autosparse.errors import AutosparseError
from autosparse.masks import Masks


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
