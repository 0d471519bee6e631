"""Linear layers that keep and multiply only the weights that are not pruned, in compressed sparse rows (CSR)."""

import functools
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

DENSITY = 0.05
"""A Linear layer is sparse if at most this share of its live part is kept; ``scripts/bench.py sparse_layers``."""
SIZE = 2**16
"""A layer of fewer weights stays dense: starting its product costs more than the product."""


def is_worth_it(layer: nn.Linear, kept: Tensor) -> bool:
    """Whether ``layer`` is faster if it is sparse and keeps only the weights ``kept``, bool (outputs, inputs).

    Rows and columns without a kept weight do not count. The rule is fixed, not timed on the machine at hand, so that
    the same cell gives the same bits each time. It is never True if this build of PyTorch lacks the sparse products.
    """
    if layer.weight.device.type != "cpu" or layer.weight.dtype not in (torch.float32, torch.float64):
        return False
    count, size = int(kept.sum()), int(kept.any(1).sum()) * int(kept.any(0).sum())
    return size >= SIZE and 0 < count <= DENSITY * size and has_products()


@functools.cache
def has_products() -> bool:
    """Whether this build of PyTorch has the products of sparse and dense matrices on the CPU."""
    layer = SparseLinear(nn.Linear(2, 2), torch.eye(2, dtype=torch.bool))
    try:
        layer(torch.ones(1, 2, requires_grad=True)).sum().backward()
    except (RuntimeError, NotImplementedError):
        return False
    return True


@functools.cache
def _hear_of_beta() -> None:
    """Silence the warning that CSR is in beta; PyTorch gives it once, for the first such tensor of a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.eye(1).to_sparse_csr()


class SparseLinear(nn.Module):
    """A Linear layer on the CPU whose weight is the vector of its kept weights, row by row.

    The gradient is computed only for the kept weights. The layer can be differentiated once.

    :param layer: with the dense weight.
    :param kept: bool (outputs, inputs).
    """

    def __init__(self, layer: nn.Linear, kept: Tensor):
        super().__init__()
        _hear_of_beta()
        self.out_features, self.in_features = kept.shape
        rows, columns = kept.nonzero(as_tuple=True)
        self.weight = nn.Parameter(layer.weight.detach()[rows, columns], layer.weight.requires_grad)
        self.bias = layer.bias
        by_column = kept.t().nonzero()
        positions = torch.zeros(kept.shape, dtype=torch.long)
        positions[rows, columns] = torch.arange(len(rows))
        self.register_buffer("starts", _starts(kept), persistent=False)
        self.register_buffer("columns", columns.int(), persistent=False)
        self.register_buffer("starts_transposed", _starts(kept.t()), persistent=False)
        self.register_buffer("rows_transposed", by_column[:, 1].int(), persistent=False)
        self.register_buffer("order_transposed", positions.t()[kept.t()], persistent=False)

    starts: Tensor
    columns: Tensor
    starts_transposed: Tensor
    rows_transposed: Tensor
    order_transposed: Tensor

    @property
    def multiplied(self) -> int:
        """How many weights are multiplied for each example."""
        return self.weight.numel()

    def matrix(self, values: Tensor) -> Tensor:
        """CSR (outputs, inputs) with these values (kept weights,)."""
        shape = (self.out_features, self.in_features)
        return torch.sparse_csr_tensor(self.starts, self.columns, values, shape, check_invariants=False)

    def transposed(self, values: Tensor) -> Tensor:
        """The transpose of :meth:`matrix`, in CSR too."""
        shape = (self.in_features, self.out_features)
        ordered = values[self.order_transposed]
        return torch.sparse_csr_tensor(
            self.starts_transposed, self.rows_transposed, ordered, shape, check_invariants=False
        )

    def times(self, columns: Tensor) -> Tensor:
        """(inputs, batch) -> (batch, outputs), without a gradient."""
        matrix = self.matrix(self.weight.detach())
        products = matrix @ columns if self.bias is None else torch.addmm(self.bias.unsqueeze(1), matrix, columns)
        return products.t()

    def dense(self) -> nn.Linear:
        """The Linear layer with zeros at what is not kept."""
        layer = nn.Linear(1, 1, device="meta")
        layer.out_features, layer.in_features = self.out_features, self.in_features
        layer.weight = nn.Parameter(self.matrix(self.weight.detach()).to_dense(), self.weight.requires_grad)
        layer.bias = self.bias
        return layer.train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs). The result lies column by column in memory, as the next layer reads it."""
        rows = x.reshape(-1, self.in_features).to(self.weight.dtype)
        if torch.is_grad_enabled():
            products: Tensor = _Product.apply(rows, self.weight, self.bias, self)
        else:
            products = self.times(rows.t().contiguous())
        return products if x.dim() == 2 else products.reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """The size, and how much of it is kept."""
        return f"in_features={self.in_features}, out_features={self.out_features}, kept={self.weight.numel()}"


class _Product(torch.autograd.Function):
    """The product; examples lie in columns, so that each kept weight multiplies a row that is contiguous in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: SparseLinear) -> Tensor:
        columns = x.t().contiguous()
        ctx.layer = layer
        ctx.save_for_backward(columns, weight)
        return layer.times(columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        columns, weight = ctx.saved_tensors
        layer, grad = ctx.layer, grad.t().contiguous()
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        pattern = layer.matrix(torch.zeros_like(weight)) if of_weight else None
        return (
            (layer.transposed(weight) @ grad).t() if of_x else None,
            torch.sparse.sampled_addmm(pattern, grad, columns.t(), beta=0.0).values() if of_weight else None,
            grad.sum(1) if of_bias else None,
            None,
        )


def _starts(kept: Tensor) -> Tensor:
    """Where each row begins among the kept weights, int32 (rows + 1,): 64-bit indices would be converted each time."""
    return torch.cat([torch.zeros(1, dtype=torch.int32), kept.sum(1).cumsum(0).int()])
