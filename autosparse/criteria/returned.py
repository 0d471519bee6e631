"""Checks of what a criterion returns: a tensor for each prunable weight, by its name and in its shape."""

from typing import Any

import torch
from torch import Tensor, nn

from autosparse.errors import AutosparseError, nearest_name
from autosparse.weights import prunable


def check_returned(scores: Any, model: nn.Module, whose: str, partial: bool = False) -> None:
    """Raise unless ``scores`` has a tensor of real numbers, in the weight's shape, for each prunable weight.

    :param whose: the criterion, as the beginning of a message.
    :param partial: whether weights may be left out, as by criteria that prune channels.
    """
    wanted = "a dictionary {weight name: tensor of the weight's shape}"
    if not isinstance(scores, dict):
        raise AutosparseError(f"{whose} returned {_kind(scores)}, not {wanted}")
    weights = prunable(model)
    for name, score in scores.items():
        if name not in weights:
            nearest = nearest_name(name, weights) if isinstance(name, str) else None
            hint = f"did you mean {nearest!r}?" if nearest else "its keys are those of autosparse.masks.prunable(model)"
            raise AutosparseError(f"{whose} returned scores of {name!r}, which is not a prunable weight: {hint}")
        if not isinstance(score, Tensor):
            raise AutosparseError(f"{whose} returned {_kind(score)} for {name!r}, not a tensor")
        if score.shape != weights[name].shape:
            raise AutosparseError(
                f"{whose} returned scores of shape {tuple(score.shape)} for {name!r}, "
                f"a weight of shape {tuple(weights[name].shape)}"
            )
        if score.dtype == torch.bool or score.is_complex():
            raise AutosparseError(
                f"{whose} returned scores of {score.dtype} for {name!r}: only real numbers can be ranked, such as "
                "float32"
            )
    missing = [name for name in weights if name not in scores]
    if missing and not partial:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise AutosparseError(f"{whose} returned no scores of {missing[0]!r}{more}: every prunable weight needs them")


def _kind(value: Any) -> str:
    kind = "None" if value is None else type(value).__name__
    return kind if value is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
