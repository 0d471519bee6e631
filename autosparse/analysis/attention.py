"""How paths run through attention, for effective sparsity: sums of products of zeros and ones."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Reach = Callable[[Tensor], Tensor]


def attention_paths(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    reach: Reach,
) -> Tensor:
    """Compute ``F.scaled_dot_product_attention`` on units that are reached (1) or not (0).

    Attention weights are positive even if queries or keys are all 0, so values pass on regardless. A path through a
    query also takes what the query is multiplied with: the same entry of a key, and a value.

    :param reach: applied to each step.
    """
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    read = reach(query @ key.mT + 1)
    if is_causal:
        read = read.tril()
    if attn_mask is not None:
        read = read * (attn_mask if attn_mask.dtype == torch.bool else attn_mask > -torch.inf)
    return reach(read @ value)


def multihead_paths(*args: Any, reach: Reach, **kwargs: Any) -> tuple[Tensor, None]:
    """Compute ``F.multi_head_attention_forward``, but no attention weights; see :func:`attention_paths`."""
    bound = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    if given["use_separate_proj_weight"]:
        weights = [given[f"{kind}_proj_weight"] for kind in "qkv"]
    else:
        weights = given["in_proj_weight"].chunk(3)
    inputs = [given[name] for name in ("query", "key", "value")]
    batched = inputs[0].dim() == 3
    heads = []
    for x, weight in zip(inputs, weights, strict=True):  # (length, batch, width) -> (batch, heads, length, width)
        x = reach((x if batched else x.unsqueeze(1)) @ weight.T)
        heads.append(x.unflatten(2, (given["num_heads"], -1)).permute(1, 2, 0, 3))
    allowed = _allowed(given["attn_mask"], given["key_padding_mask"], given["num_heads"])
    query, key, value = heads
    mixed = attention_paths(query, key, value, allowed, reach=reach)
    out = reach(mixed.permute(2, 0, 1, 3).flatten(2) @ given["out_proj_weight"].T)
    return (out if batched else out.squeeze(1)), None


def _allowed(mask: Tensor | None, padding: Tensor | None, heads: int) -> Tensor | None:
    """Which places may be read, in a shape that fits (batch, heads, targets, sources); True in ``mask`` forbids."""
    if mask is not None and mask.dim() == 3:
        mask = mask.unflatten(0, (-1, heads))
    if padding is not None:
        padding = padding.view(-1, 1, 1, padding.shape[-1])
    given = [part for part in (mask, padding) if part is not None]
    allowed = [~part if part.dtype == torch.bool else part > -torch.inf for part in given]
    return functools.reduce(torch.logical_and, allowed) if allowed else None
