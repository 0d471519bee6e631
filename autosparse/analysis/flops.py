"""FLOPs of the dense and of the pruned network, from the operations that a forward pass executes."""

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from autosparse.masks import Masks, prunable


def flops(model: nn.Module, input_shape: tuple[int, ...], masks: Masks | None = None) -> dict[str, int]:
    """FLOPs that each prunable weight takes part in, in the forward pass of one example, by the weight's name.

    A multiplication with the addition that follows it is 2 FLOPs; biases, normalisation and activations do not count,
    nor do products without a weight, such as queries with keys. Every operation counts that reads the weight or a part
    of it, even if no layer is called, as in attention. A weight that several modules share has the FLOPs of all of
    them. A warning names the weights that no counted operation reads.

    :param input_shape: shape of one example.
    :param masks: count what an ideal sparse kernel would compute: only the weights that these keep. Networks pruned by
        masks, as here, still compute everything.
    """
    dense, kept = dense_and_kept_flops(model, input_shape, masks or {})
    return dense if masks is None else kept


def dense_and_kept_flops(
    model: nn.Module, input_shape: tuple[int, ...], masks: Masks | dict[str, Tensor]
) -> tuple[dict[str, int], dict[str, int]]:
    """:func:`flops` without and with ``masks``, from one forward pass."""
    network = copy.deepcopy(model).eval()
    weights = prunable(network)
    first = next(iter(weights.values()), torch.zeros(()))
    example = torch.ones(1, *input_shape, device=first.device, dtype=first.dtype)
    counter = _Counter(weights, masks)
    with torch.no_grad(), _no_fast_path(), counter:
        network(example)
    if uncounted := [name for name in weights if name not in counter.reads]:
        more = f" and {len(uncounted) - 1} more weights" if uncounted[1:] else ""
        warnings.warn(
            f"no FLOPs of {uncounted[0]!r}{more}: the forward pass does not read them, or only a copy", stacklevel=3
        )
    return counter.dense, counter.kept


def pruned_flops(dense: Mapping[str, int], masks: Masks) -> dict[str, int]:
    """The share of ``dense``, :func:`flops`, that falls to the weights that are kept.

    This assumes that each entry of a weight is used equally often, as in Linear and Conv layers. If not, as in
    cross-attention with different numbers of queries and keys, use ``flops(..., masks)``.
    """
    return {name: count // masks[name].numel() * int(masks[name].sum()) for name, count in dense.items()}


class _Counter(TorchDispatchMode):
    """Adds up FLOPs, by the formulas of PyTorch's own counter, for the weight whose memory an operation reads."""

    def __init__(self, weights: dict[str, nn.Parameter], masks: Masks | dict[str, Tensor]):
        super().__init__()
        self.dense, self.kept = dict.fromkeys(weights, 0), dict.fromkeys(weights, 0)
        self.reads: set[str] = set()
        self.names = {_memory(weight): name for name, weight in weights.items()}
        self.starts = {name: weight.storage_offset() for name, weight in weights.items()}
        self.masks = {name: _laid_out(masks[name], like=weights[name]) for name in masks}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        result = func(*args, **kwargs)
        count = formula(*args, **kwargs, out_val=result)
        for tensor in (*args, *kwargs.values()):
            if isinstance(tensor, Tensor) and (name := self.names.get(_memory(tensor))):
                self.reads.add(name)
                self.dense[name] += count
                self.kept[name] += count // tensor.numel() * self._kept_of(name, tensor)
        return result

    def _kept_of(self, name: str, part: Tensor) -> int:
        """How many entries of a weight, or of a part of it, stay."""
        if name not in self.masks:
            return part.numel()
        start = part.storage_offset() - self.starts[name]
        return int(self.masks[name].as_strided(part.shape, part.stride(), start).sum())


def _memory(tensor: Tensor) -> int:
    """An identity that a tensor shares with its views, even if they hold no data (``meta``)."""
    return tensor.untyped_storage()._cdata


def _laid_out(mask: Tensor, like: Tensor) -> Tensor:
    """The mask with the memory layout of its weight, on the CPU."""
    return torch.empty_strided(like.shape, like.stride(), dtype=torch.bool).copy_(mask)


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """Compute attention step by step within the block, not in one fused operation that no formula counts."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
