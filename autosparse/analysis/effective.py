"""Effective sparsity: weights that are kept but lie on no path from input to output count as pruned."""

import copy
import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from autosparse.analysis.attention import attention_paths, multihead_paths
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, prunable

NOISE = 1e-9
"""Smaller than any nonzero sum or mean of zeros and ones, larger than the rounding errors of a float64 convolution."""

NO_OBSTACLE = {
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "log_softmax",
}  # fmt: skip
"""Functions that block no path but have gradients of both signs: they are skipped."""

ATTENTION: dict[str, Any] = {
    "scaled_dot_product_attention": attention_paths,
    "multi_head_attention_forward": multihead_paths,
}


def effective_masks(model: nn.Module, masks: Masks, input_shape: tuple[int, ...]) -> Masks:
    """``masks`` without the weights that no path from an input to an output of the masked network runs through.

    Vysogorets and Kempe 2023 (arXiv:2107.02306). Paths lead through units, as in their computation with SynFlow: a
    convolution's weight is effective if one of its uses, at some position of the map, is on a path. A weight that
    meets only zero padding, like the rim of a 3x3 kernel on a 1x1 map, never acts, so that even a dense network may
    have ineffective weights. Paths also run through what is not pruned: shortcuts, poolings, weights that ``masks`` do
    not name. Biases do not count as inputs.

    Exact for networks of Linear, Conv, normalisation, pooling, attention, ReLU-like activations, sums and
    concatenations, however deep. In attention a path through a query also takes the key's entry that it is multiplied
    with, and a value. A bare parameter that is added, such as an embedding of positions, counts as an input. An
    activation that is positive at 0 (a sigmoid, as in gates) passes signal on even if none reaches it.

    :param input_shape: shape of one example.
    :raises AutosparseError: if the masks do not fit the model. The model is left as it was.
    """
    ones = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for name, parameter in ones.named_parameters():
            parameter.requires_grad_().fill_(0.0 if name.endswith("bias") else 1.0)
    Masks({**Masks.dense(ones), **masks}).apply_(ones)
    weights = prunable(ones)
    image = torch.ones(1, *input_shape, dtype=torch.float64, device=next(ones.parameters()).device)
    with torch.enable_grad(), _Reachability():
        reached = ones(image).sum()
    flow = torch.autograd.grad(reached, [weights[name] for name in masks], materialize_grads=True)
    paths = zip(masks.items(), flow, strict=True)
    return Masks({name: mask & (on_path > NOISE).to(mask.device) for (name, mask), on_path in paths})


class _Reach(torch.autograd.Function):
    """Forward, 1 if the input reaches a unit; backward, 1 if the unit reaches the output; else 0.

    The numbers of paths, which overflow in deep networks, are never computed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x > NOISE).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return (grads[0] > NOISE).to(grads[0].dtype)


class _Reachability(TorchFunctionMode):
    """Makes every torch function, whoever calls it, return for each unit whether it is reached."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in NO_OBSTACLE:
            return args[0] if args else kwargs["input"]
        if name in ATTENTION:
            return ATTENTION[name](*args, **kwargs, reach=_Reach.apply)
        if name == "softmax":  # positive even if nothing is reached
            return _Reach.apply((args[0] if args else kwargs["input"]) + 1)
        # a maximum passes the gradient to only one of several ones, a mean to all
        if name.startswith("adaptive_max_pool"):
            kwargs = {key: value for key, value in kwargs.items() if key != "return_indices"}
            func = getattr(F, name.replace("max", "avg"))
        elif name.startswith("max_pool"):
            func = functools.partial(_mean_pool, name)
        result = func(*args, **kwargs)
        return _Reach.apply(result) if isinstance(result, Tensor) and result.requires_grad else result


def _mean_pool(
    name: str,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The mean over the windows of the max-pooling ``name``, which takes the other arguments."""
    if return_indices or torch.as_tensor(dilation).ne(1).any():
        raise AutosparseError("no effective masks of networks whose max-pooling is dilated or returns indices")
    return getattr(F, name.replace("max", "avg"))(input, kernel_size, stride, padding, ceil_mode)
