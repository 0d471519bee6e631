"""Gradients and scores averaged over several batches, without changing the model."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from autosparse.criteria.types import NO_BATCHES, Batches, Loss
from autosparse.errors import AutosparseError
from autosparse.masks import Scores, prunable


@contextlib.contextmanager
def restored(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Set parameters and buffers (BatchNorm statistics) back, bit for bit, when the block ends, however it ends."""
    saved = [(tensor, tensor.detach().clone()) for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in saved:
                tensor.copy_(value)


twice_differentiable = functools.partial(sdpa_kernel, SDPBackend.MATH)
"""Compute attention within the block by the math kernel, since the fused ones have no second derivative."""


def prunable_or_fail(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the prunable weights; raise if there are none, or if one is frozen."""
    weights = prunable(model)
    if not weights:
        raise AutosparseError(
            "the model has no prunable weights to score (of Linear, Conv, ConvTranspose or attention layers)"
        )
    for name, weight in weights.items():
        if not weight.requires_grad:
            raise AutosparseError(f"{name!r} does not require a gradient: unfreeze it before scoring")
    return weights


def mean_gradient(model: nn.Module, batches: Batches, loss: Loss) -> dict[str, Tensor]:
    """Gradient of the mean loss over all examples of all batches, per prunable weight; see :func:`mean_derivative`."""
    weights = list(prunable_or_fail(model).values())
    return mean_derivative(
        model, batches, lambda x, y: torch.autograd.grad(loss(model(x), y), weights, materialize_grads=True)
    )


def mean_derivative(
    model: nn.Module, batches: Batches, derivative: Callable[[Tensor, Tensor], Sequence[Tensor]]
) -> dict[str, Tensor]:
    """Mean of ``derivative(x, y)``, a tensor per prunable weight, over all examples of all batches.

    Batches count by their size and are summed in float64, so that neither the cut into batches nor their order matters,
    except for BatchNorm in training mode, whose statistics are the batch's. The result is float32 or float64. The model
    stays in the mode that it is in; buffers and ``.grad`` are left as they were.
    """
    weights = prunable_or_fail(model)
    totals = [torch.zeros_like(weight, dtype=torch.float64) for weight in weights.values()]
    examples = 0
    with restored(model.buffers()):
        for x, y in batches:
            for total, part in zip(totals, derivative(x, y), strict=True):
                total.add_(part, alpha=len(x))
            examples += len(x)
    if examples == 0:
        raise AutosparseError(f"{NO_BATCHES}: nothing to score on")
    return {
        name: (total / examples).to(torch.promote_types(weight.dtype, torch.float32))
        for (name, weight), total in zip(weights.items(), totals, strict=True)
    }


def mean_score(score_batch: Callable[[tuple[Tensor, Tensor]], Scores], batches: Batches) -> Scores:
    """Mean of ``score_batch`` over all batches, each counted once, summed in float64; the dtype is the score's own."""
    totals: dict[str, Tensor] = {}
    count, dtypes = 0, {}
    for batch in batches:
        for name, score in score_batch(batch).items():
            dtypes[name] = score.dtype
            totals[name] = totals.get(name, torch.zeros_like(score, dtype=torch.float64)) + score
        count += 1
    if count == 0:
        raise AutosparseError(f"{NO_BATCHES}: nothing to score on")
    return {name: (total / count).to(dtypes[name]) for name, total in totals.items()}
