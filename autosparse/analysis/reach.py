"""Which units are reached: torch functions on zeros and ones, in which no path cancels another."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from autosparse.analysis.attention import attention_paths, multihead_paths
from autosparse.errors import AutosparseError

NOISE = 1e-9
"""Smaller than any nonzero sum or mean of zeros and ones, larger than the rounding errors of a float64 convolution."""

NO_OBSTACLE = {
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize",
    "log_softmax", "log", "log2", "log10", "clamp", "clamp_", "clamp_min", "clamp_min_", "clamp_max", "clamp_max_",
    "clip", "clip_", "hardtanh", "hardtanh_", "threshold", "_threshold", "hardshrink", "softshrink",
}  # fmt: skip
"""Functions that block no path, but are 0 or flat at 1, or have gradients of both signs for one output: skipped."""

IN_PLACE = {"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__set__"}
"""Such functions whose names do not end with one underscore."""

GROWING = {
    "add", "__add__", "__radd__", "cat", "concat", "stack", "flatten", "reshape", "view", "permute", "transpose",
    "squeeze", "unsqueeze", "chunk", "split", "unbind", "__getitem__", "pad", "sum", "mean", "relu", "relu_",
    "linear", "matmul", "__matmul__", "conv1d", "conv2d", "conv3d", "avg_pool2d", "adaptive_avg_pool2d", "max_pool2d",
}  # fmt: skip
"""Frequent functions that grow, or stay, with each thing that they take: their gradients are never negative."""

ATTENTION: dict[str, Any] = {
    "scaled_dot_product_attention": attention_paths,
    "multi_head_attention_forward": multihead_paths,
}


class _Reach(torch.autograd.Function):
    """Forward, 1 if the input reaches a unit; backward, 1 if the unit reaches the output; else 0.

    The numbers of paths, which overflow in deep networks, are never computed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x.abs() > NOISE).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return (grads[0].abs() > NOISE).to(grads[0].dtype)


def reached(value: Any) -> Any:
    """``value`` as zeros and ones if it is a tensor that was computed from weights; anything else as it is."""
    follows = isinstance(value, Tensor) and value.requires_grad and not value.is_leaf
    return _Reach.apply(value) if follows else value


def _result(value: Any) -> Any:
    """``value`` as zeros and ones; as it is if it is a view, which has been, and through which its base may change."""
    return value if isinstance(value, Tensor) and value._is_view() else reached(value)


class Reachability(TorchFunctionMode):
    """Makes every torch function, whoever calls it, return for each unit whether it is reached.

    What a function takes is brought to zeros and ones, too, so that what comes back along two ways has one sign. Only
    the functions of ``GROWING`` need that not.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        in_place = name in IN_PLACE or (name.endswith("_") and not name.endswith("__"))
        if name in ("__get__", "__set__"):
            return func(*args, **kwargs)
        if name not in GROWING:
            first = args[:1] if in_place else tree_map(reached, args[:1])
            args, kwargs = (*first, *tree_map(reached, args[1:])), tree_map(reached, kwargs)
        if name in NO_OBSTACLE:
            return args[0] if args else kwargs["input"]
        if name in ATTENTION:
            return ATTENTION[name](*args, **kwargs, reach=_Reach.apply)
        rule = RULES.get(name.removesuffix("_") if in_place else name)
        if rule is None:
            result = func(*args, **kwargs)
        elif in_place:
            result = args[0].copy_(rule(func, *args, **kwargs))
        else:
            result = rule(func, *args, **kwargs)
        return tree_map(_result, result)


def _sum(func: Any, input: Any, other: Any, *rest: Any, **options: Any) -> Any:
    """A difference, or an extremum of two: units of both. A constant that is taken off shifts, and reaches nothing."""
    if _is_constant(input) and _is_constant(other):
        return func(input, other, *rest, **options)
    terms = [_only_shape(term) if _is_constant(term) else term for term in (input, other)]
    return terms[0] + terms[1]


def _is_constant(term: Any) -> bool:
    return not (isinstance(term, Tensor) and term.requires_grad)


def _only_shape(constant: Any) -> Any:
    return torch.zeros_like(constant) if isinstance(constant, Tensor) else 0


def _added(func: Any, input: Any, other: Any, *, alpha: float = 1, **options: Any) -> Any:
    """A sum, in which no constant cancels what it is added to."""
    return func(*(abs(term) if _is_constant(term) else term for term in (input, other)), alpha=abs(alpha), **options)


def _quotient(func: Any, input: Any, other: Any, **options: Any) -> Any:
    """What reaches the numerator passes; the denominator counts where the numerator is reached."""
    if _is_constant(input) and _is_constant(other):
        return func(input, other, **options)
    if _is_constant(input):
        return _sum(func, input, other)
    factor = torch.ones_like(other) if _is_constant(other) and isinstance(other, Tensor) else 1
    return input * (factor if _is_constant(other) else _Reach.apply(other + 1))


def _inverse(func: Any, input: Any, other: Any) -> Any:
    """``other / input``, of which one is constant."""
    return func(input, other) if _is_constant(input) else _quotient(func, other, input)


def _extremum(func: Any, input: Tensor, *args: Any, **options: Any) -> Any:
    """A maximum passes the gradient to only one of several ones, a mean to all."""
    given = options.get("dim", options.get("other", args[0] if args else None))
    if isinstance(given, Tensor):
        return _sum(func, input, given)
    result = func(input, *args, **options)
    if isinstance(result, Tensor):
        return _mean_like(result, input, given)
    return type(result)((_mean_like(result[0], input, given), result[1]))


def _ordered(place: int, func: Any, input: Tensor, *args: Any, **options: Any) -> Any:
    """Sorted or picked by size: each place may hold what any unit of that dimension has."""
    dim = options.get("dim", args[place] if len(args) > place else -1)
    values, indices = result = func(input, *args, **options)
    mean = input.mean(dim, keepdim=True)
    return type(result)((mean.expand_as(values) if values.dim() == input.dim() else mean.squeeze(dim), indices))


def _spread(func: Any, input: Tensor, *args: Any, **options: Any) -> Any:
    """A variance or standard deviation, which is 0 of equal values: their mean."""
    given = options.get("dim", args[0] if args and not isinstance(args[0], bool) else None)
    result = func(input, *args, **options)
    parts = [result] if isinstance(result, Tensor) else result
    means = [_mean_like(part, input, given) for part in parts]
    return means[0] if isinstance(result, Tensor) else tuple(means)


def _mean_like(result: Tensor, input: Tensor, dims: Any) -> Tensor:
    """The mean of ``input`` over some dimensions, all if None or empty, in the shape of ``result``."""
    every = dims is None or dims == ()
    return (input.mean() if every else input.mean(dims, keepdim=True)).reshape(result.shape)


def _similarity(_: Any, x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 0) -> Tensor:
    """A cosine is flat where two vectors are alike; the product that it normalises is not."""
    return (x1 * x2).sum(dim)


def _filtered(func: Any, *args: Any, **kwargs: Any) -> Any:
    """A product with a fixed filter, such as one of differences, whose sum over equal values would be 0."""
    positive = functools.partial(tree_map, _without_sign)
    return func(*positive(args), **positive(kwargs))


def _without_sign(value: Any) -> Any:
    return value.abs() if _is_constant(value) and isinstance(value, Tensor) and value.is_floating_point() else value


def _softmax(_: Any, input: Tensor, *args: Any, **options: Any) -> Tensor:
    """Positive even if nothing is reached."""
    return _Reach.apply(input + 1)


def _adaptive_pool(name: str, _: Any, *args: Any, **options: Any) -> Any:
    return getattr(F, name.replace("max", "avg"))(*args, **{k: v for k, v in options.items() if k != "return_indices"})


def _mean_pool(
    name: str,
    _: Any,
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


POOLS = [f"max_pool{dims}d" for dims in (1, 2, 3)]
RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("sub", "subtract", "rsub", "__sub__", "__rsub__", "__isub__"), _sum),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin", "lerp"), _sum),
    "add": _added,
    **dict.fromkeys(("div", "divide", "true_divide", "__truediv__", "__itruediv__"), _quotient),
    **dict.fromkeys(("__rdiv__", "__rtruediv__"), _inverse),
    **dict.fromkeys(("max", "min", "amax", "amin"), _extremum),
    **{name: functools.partial(_ordered, 0) for name in ("median", "nanmedian", "mode", "sort")},
    **{name: functools.partial(_ordered, 1) for name in ("topk", "kthvalue")},
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), _spread),
    "cosine_similarity": _similarity,
    **dict.fromkeys(("softmax", "softmin"), _softmax),
    **dict.fromkeys(("linear", "matmul", "__matmul__", "mm", "bmm", "einsum", "mul", "multiply"), _filtered),
    **dict.fromkeys((f"conv{kind}{dims}d" for kind in ("", "_transpose") for dims in (1, 2, 3)), _filtered),
    **{f"adaptive_{name}": functools.partial(_adaptive_pool, f"adaptive_{name}") for name in POOLS},
    **{name: functools.partial(_mean_pool, name) for name in POOLS},
}
"""What is computed in place of a function, by its name: ``(function, *arguments) -> result``."""
