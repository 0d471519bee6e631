"""Autocast on the emulated device: the lists of operations that PyTorch gives a backend (ATen/autocast_mode.h)."""

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
KEY = torch._C.DispatchKey.AutocastPrivateUse1

LOWER = """
    conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d.input conv_transpose3d.input prelu addmm addmv
    addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm bmm chain_matmul linalg_multi_dot
    scaled_dot_product_attention
"""
"""Computed in autocast's dtype."""
FLOAT32 = """
    exp expm1 log log10 log2 log1p reciprocal rsqrt pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar softplus layer_norm
    native_layer_norm rms_norm group_norm cosine_similarity nll_loss nll_loss2d kl_div l1_loss smooth_l1_loss huber_loss
    mse_loss binary_cross_entropy_with_logits dist cdist logsumexp prod prod.dim_int softmax.int log_softmax.int cumprod
    cumsum linalg_vector_norm sum sum.dim_IntList norm.Scalar
"""
"""Computed in float32."""
WIDEST = "addcdiv addcmul atan2 bilinear cross dot vdot index_put tensordot scatter_add"
"""Computed in the widest dtype of their arguments."""


def _cast(name, dtype_of):
    packet, _, overload = name.partition(".")
    op = getattr(getattr(aten, packet), overload or "default")

    def kernel(*args, **kwargs):
        dtype = dtype_of([leaf for leaf in tree_leaves((args, kwargs)) if _eligible(leaf)])
        given = tree_map_only(torch.Tensor, lambda t: t.to(dtype) if _eligible(t) else t, (args, kwargs))
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(KEY)):
            return op(*given[0], **given[1])

    return name, kernel


def _eligible(value):
    is_device = isinstance(value, torch.Tensor) and value.device.type not in ("cpu", "meta")
    return is_device and value.is_floating_point() and value.dtype != torch.float64


def _widest(tensors):
    return torch.float32 if any(t.dtype == torch.float32 for t in tensors) else tensors[0].dtype


def kernels():
    """(name, kernel) of each operation that autocast has a say in."""
    yield from (_cast(name, lambda tensors: torch.get_autocast_dtype(tensors[0].device.type)) for name in LOWER.split())
    yield from (_cast(name, lambda tensors: torch.float32) for name in FLOAT32.split())
    yield from (_cast(name, _widest) for name in WIDEST.split())
