"""Fold a network for inference: BatchNorm into the layer before it, constants into biases; products become sparse."""

import copy
from collections.abc import Container
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from autosparse.compaction.layers import Carry, resized
from autosparse.compaction.sparse import SparseLinear, is_worth_it
from autosparse.compaction.split import SplitLinear

FUSED = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d, nn.Linear: nn.BatchNorm1d}


class Placed(nn.Module):
    """Put channels among constant ones: (batch, have, ...) -> (batch, want, ...).

    :param placed: the position of each channel, int64 (have,).
    :param constants: the values of all channels, (want,), of which those at other positions remain.
    """

    def __init__(self, placed: Tensor, constants: Tensor):
        super().__init__()
        self.register_buffer("placed", placed, persistent=False)
        self.register_buffer("constants", constants, persistent=False)

    placed: Tensor
    constants: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        constants = self.constants.view(1, -1, *[1] * (x.dim() - 2))
        filled = constants.expand(x.shape[0], -1, *x.shape[2:]).contiguous()
        return filled.index_copy_(1, self.placed, x)


@torch.no_grad()
def folded(network: nn.Module, followed: Container[str]) -> nn.Module:
    """A copy of a traced network, in evaluation mode, without the BatchNorm layers that follow another layer.

    A BatchNorm stays if something else reads the layer's result, too, or if it keeps no statistics. Outputs agree with
    those of ``network`` in evaluation mode within rounding; the copy is not for training. A Linear layer on the CPU is
    computed sparse if few of its weights differ from 0. A network that was not traced is copied as it is.

    :param followed: names of the parameters of layers that are called once and whose outputs are channels. No other
        layer takes up a BatchNorm: its weights serve another call, too, or BatchNorm sees other channels in its output.
    """
    network = copy.deepcopy(network).eval()
    if not isinstance(network, fx.GraphModule):
        return network
    for name, layer in list(network.named_modules()):
        if isinstance(layer, SparseLinear):
            network.set_submodule(name, layer.dense())
    _fold_constants(network)
    for node in list(network.graph.nodes):
        if node.op == "call_module":
            _fold(network, node, followed)
    network.graph.lint()
    network.recompile()
    network.delete_all_unused_submodules()
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.Linear and is_worth_it(layer, layer.weight != 0):
            network.set_submodule(name, SparseLinear(layer, layer.weight != 0))
    return network


def _fold_constants(network: fx.GraphModule) -> None:
    """Make what is the same for every example a part of the biases; if something else reads it, make it a buffer."""
    constant: dict[fx.Node, Tensor] = {}
    for node in list(network.graph.nodes):
        layer = _module(network, node)
        if isinstance(layer, SplitLinear):
            given = constant[node.args[1]] if len(node.args) > 1 else None
            plain, values = layer.folded(given)
            network.set_submodule(str(node.target), plain)
            node.args = node.args[:1]
            for part in list(node.users):
                if part.args[1] == 1:
                    constant[part] = values
                else:
                    part.replace_all_uses_with(node)
                    network.graph.erase_node(part)
        elif node.all_input_nodes and all(source in constant for source in node.all_input_nodes):
            run = fx.Interpreter(network)
            run.env.update(constant)
            constant[node] = run.run_node(node)
    for node, values in reversed(constant.items()):
        if node.users:
            name = f"autosparse_{node.name}"
            network.register_buffer(name, values, persistent=False)
            with network.graph.inserting_before(node):
                node.replace_all_uses_with(network.graph.get_attr(name))
        network.graph.erase_node(node)


def _fold(network: fx.GraphModule, node: fx.Node, followed: Container[str]) -> None:
    """Fold ``node`` into the layer before it if ``node`` is a BatchNorm for which that works."""
    norm, before = _module(network, node), node.all_input_nodes[0]
    carry = _module(network, before)
    if isinstance(carry, Carry) and carry.taken is None and len(before.users) == 1:
        before = before.all_input_nodes[0]
    layer = _module(network, before)
    if not isinstance(norm, _BatchNorm) or FUSED.get(type(layer)) is not type(norm):
        return
    if len(before.users) != 1 or norm.running_mean is None or f"{before.target}.weight" not in followed:
        return
    into = before
    if isinstance(carry, Carry):
        assert carry.placed is not None
        into = node.all_input_nodes[0]
        network.set_submodule(str(into.target), Placed(carry.placed, _at_zero(norm)))
        norm = _part(norm, carry.placed)
    fused: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    network.set_submodule(str(before.target), fused(layer, _scaling(norm)))
    node.replace_all_uses_with(into)
    network.graph.erase_node(node)


def _module(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _scaling(norm: _BatchNorm) -> _BatchNorm:
    """The same BatchNorm with a weight and a bias.

    PyTorch cannot fold a BatchNorm that lacks them into a Linear layer.
    """
    if norm.weight is not None:
        return norm
    assert norm.running_var is not None
    scaling = copy.deepcopy(norm)
    scaling.weight = nn.Parameter(torch.ones_like(norm.running_var))
    scaling.bias = nn.Parameter(torch.zeros_like(norm.running_var))
    return scaling


def _at_zero(norm: _BatchNorm) -> Tensor:
    """The values to which a BatchNorm turns channels that are 0, (channels,)."""
    assert norm.running_mean is not None
    dims = {nn.BatchNorm2d: 2, nn.BatchNorm3d: 3}.get(type(norm), 0)
    zeros: Tensor = norm(norm.running_mean.new_zeros(1, norm.num_features, *[1] * dims))
    return zeros.flatten()


def _part(norm: _BatchNorm, channels: Tensor) -> _BatchNorm:
    """The same BatchNorm of fewer channels."""
    tensors = {
        name: value.detach()[channels]
        for name, value in [*norm.named_parameters(), *norm.named_buffers()]
        if value.dim()
    }
    part = resized(norm, tensors)
    assert isinstance(part, _BatchNorm)
    return part
