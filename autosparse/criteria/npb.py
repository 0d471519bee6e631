"""NPB: masks with many effective nodes and many effective paths."""

import copy
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from autosparse.criteria import Batches, Loss, criterion
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.npb_layer import layer_mask, random_mask
from autosparse.criteria.options import Sparsity, Within
from autosparse.criteria.random_erk import erk_counts
from autosparse.criteria.watch import shape_of_input
from autosparse.errors import AutosparseError
from autosparse.masks import Scores, prunable
from autosparse.seeds import generator
from autosparse.weights import TRANSPOSED

ONE_PATH = 2.0**-1000
"""The value of every input entry. Path counts are multiples of it, so that up to 1e600 paths do not overflow."""


@criterion("npb", paper="Pham et al. 2023, NeurIPS 36", revision=2)
def npb(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    sparsity: Sparsity,
    alpha: Annotated[float, Within(0, 1)] = 0.3,
    beta: Annotated[float, Within(0)] = 1.0,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
) -> Scores:
    """The mask that balances effective nodes and effective paths, layer by layer within ERK budgets.

    Pham et al., section 4: in each layer in turn maximise alpha * f_n + (1 - alpha) * f_p + beta * f_k, with f_n the
    nodes (units, channels) on a path as a share of the layer's, f_p the paths from the network's input through the
    layer as a share of the most that its budget of weights can carry, and f_k the kernels in use per weight of the
    budget. Paths into a layer are counted with all earlier layers as pruned; later ones count as dense. The kernel from
    one channel to another is an edge that holds as many weights as it has places, and which ones is drawn at random.
    All this, and beta = 1 (which changes nothing for Linear layers), comes from the paper or its code
    (github.com/pvh1602/NPB).

    Differences: the layer's program is solved as a whole (:func:`.npb_program.weights_per_node`), not in the code's
    chunks of 32 output channels or 10 outputs; no limits on weights per kernel are set by network; and no last step
    moves the weights that ended on no path, because it breaks the layers' budgets. The code's alpha = 0.01 relies on
    that step: at 99 % sparsity it leaves 73 % of LeNet-300-100's weights here on no path, and 57 % of ResNet-20's on
    images of 32 x 32; alpha = 0.1 leaves 4.5 and 24 %, and 0.3 none. Places in a kernel are drawn in proportion to the
    paths through them, not uniformly: in small images the rim sees mostly padding.

    Paths are counted in one forward pass of a float64 copy on a constant input: kept weights are 1, biases 0,
    normalisation layers do nothing, pooling passes on the mean or maximum. Weights that only ever see padding carry no
    path and stay only if the budget leaves no choice. A layer that the pass does not call keeps random weights.
    Neither weights nor data matter: ``batches``, if given, only give the shape of an input.

    Scores are float64 of the weight's shape: for a kept weight the paths that arrive through it, as a share of the
    layer's most; -inf where pruned. The same seed gives the same scores.

    :param alpha: weight of nodes against paths, in [0, 1].
    :param beta: weight of kernels in use, at least 0.
    :param seed: of the choice among equals.
    :param input_shape: shape of one example; needed if ``batches`` is None.
    """
    input_shape = shape_of_input("npb", batches, input_shape)
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            raise _no_paths(f" ({name!r})")
    network = path_network(model)
    weights = prunable_or_fail(network)
    counts = erk_counts({name: tuple(weight.shape) for name, weight in weights.items()}, sparsity)
    names = {id(weight): name for name, weight in weights.items()}
    scores: Scores = {}

    def keep(name: str, paths: Tensor, mask: Tensor) -> None:
        score = (paths / paths.max().clamp(min=ONE_PATH)).masked_fill(~mask, -torch.inf)
        scores[name] = score.to(model.get_parameter(name).device)
        weights[name].copy_(mask)

    def prune_layer(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        name = names[id(layer.weight)]
        if name in scores:
            return  # a weight that two layers share is pruned at the first
        paths, groups = paths_through(layer, *inputs), getattr(layer, "groups", 1)
        swap = partial(_swapped, groups=groups) if isinstance(layer, TRANSPOSED) else lambda x: x
        mask = layer_mask(swap(paths), groups, counts[name], alpha, beta, generator(seed, "npb", name))
        keep(name, paths, swap(mask))

    for module in network.modules():
        if id(getattr(module, "weight", None)) in names:
            module.register_forward_pre_hook(prune_layer)
    with torch.no_grad(), _NoAttention(network):
        network(torch.full((1, *input_shape), ONE_PATH, dtype=torch.float64))
        for name in weights.keys() - scores.keys():
            dense = torch.ones_like(weights[name])
            keep(name, dense, random_mask(dense > 0, counts[name], generator(seed, "npb", name)))
    return {name: scores[name] for name in weights}


def _no_paths(where: str = "") -> AutosparseError:
    return AutosparseError(
        f"criterion 'npb' cannot count paths through attention{where}, which computes its weights from its inputs: "
        "take another criterion for this network"
    )


PRODUCTS = frozenset({"matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "baddbmm", "einsum"})


class _NoAttention(TorchFunctionMode):
    """Refuses attention that a network computes by itself: products of two tensors that depend on the input."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.weights = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention" or (name in PRODUCTS and sum(map(self._computed, args)) > 1):
            raise _no_paths()
        return func(*args, **(kwargs or {}))

    def _computed(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in self.weights


def _swapped(weight: Tensor, groups: int) -> Tensor:
    """Turn (in, out / groups, *kernel) of a ConvTranspose into (out, in / groups, *kernel) of a Conv, or back."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def path_network(model: nn.Module) -> nn.Module:
    """A float64 copy of ``model`` on the CPU that counts paths: from inputs of ``ONE_PATH`` to multiples of it.

    Its prunable weights are 1, all other parameters 0, its normalisation layers identities.
    """
    network = copy.deepcopy(model).double().cpu().eval().requires_grad_(True)
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, norms):
                setattr(parent, name, nn.Identity())
    for parameter in network.parameters():
        parameter.zero_()
    for weight in prunable(network).values():
        weight.fill_(1.0)
    return network


def paths_through(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Paths that arrive through each weight of a layer if it were dense; float64 of the weight's shape.

    They are the gradient of the summed output with respect to the weight, in multiples of ``ONE_PATH`` as
    ``inputs`` are.
    """
    with torch.enable_grad():
        (paths,) = torch.autograd.grad(layer.forward(inputs).sum(), layer.get_parameter("weight"))
    if not paths.isfinite().all():
        raise AutosparseError("criterion 'npb' cannot count more than 1e600 paths: the network is too deep for it")
    return paths
