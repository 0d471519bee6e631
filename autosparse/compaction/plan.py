"""Which channels a compact network computes: those that can differ from 0 and that the network's output depends on."""

from collections import Counter
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autosparse.channels.operations import ELEMENTWISE, averaged_places, pools_places
from autosparse.compaction.rules import (
    Activated,
    BatchSize,
    Channeled,
    Flattened,
    Joined,
    Multiplied,
    Normed,
    Passed,
    Rule,
    Shifted,
    Summed,
    zero_stays,
)
from autosparse.compaction.tracing import Traced
from autosparse.compaction.weighted import Weighted

PAIRS = {"add": Summed, "iadd": Summed, "sub": Summed, "isub": Summed, "mul": Multiplied, "imul": Multiplied}
FOLLOWED = {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d}
NORMS = {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}


def rules_of(traced: Traced, masks: Mapping[str, Tensor]) -> dict[fx.Node, Rule]:
    """A rule for each node, in the order of the forward."""
    used_once = _used_once(traced)
    return {node: _rule(traced, node, masks, used_once) for node in traced.graph.nodes}


def kept_channels(rules: dict[fx.Node, Rule]) -> dict[fx.Node, Tensor]:
    """The channels of each node that must be computed, bool (channels,); at least one of each."""
    nonzero: dict[fx.Node, Tensor] = {}
    for node, rule in rules.items():
        nonzero[node] = rule.nonzero([nonzero[source] for source in rule.sources])
    kept = {node: torch.zeros_like(found) for node, found in nonzero.items()}
    for node, rule in reversed(rules.items()):
        kept[node] &= nonzero[node]
        kept[node][:1] |= ~kept[node].any()
        given = [nonzero[source] for source in rule.sources]
        for source, needed in zip(rule.sources, rule.needed(kept[node], given), strict=True):
            kept[source] |= needed
    return kept


def _rule(traced: Traced, node: fx.Node, masks: Mapping[str, Tensor], used_once: Callable[[fx.Node], bool]) -> Rule:
    width, module, name = traced.channels(node), traced.module(node), traced.operation(node)
    if width is None or not node.all_input_nodes:
        return (BatchSize if _is_batch_size(node) else Rule)(node, width or 0)
    first = node.all_input_nodes[0]
    if traced.channels(first) is None:
        return Rule(node, width)
    if type(module) in FOLLOWED and used_once(node):
        assert isinstance(module, nn.Linear | Channeled)
        if len(traced.shapes[first]) == module.weight.dim():
            kept = masks.get(f"{node.target}.weight")
            return Weighted(node, module, torch.ones_like(module.weight, dtype=torch.bool) if kept is None else kept)
    if type(module) in NORMS and used_once(node):
        assert isinstance(module, _BatchNorm)
        return Normed(node, width, module)
    if name in PAIRS and _are_alike(traced, node):
        return PAIRS[name](node, width)
    if name in ("cat", "concat") and _joins_channels(traced, node):
        return Joined(node, width)
    if name in ("flatten", "view", "reshape") and _flattens_all(traced, node):
        return Flattened(node, width)
    return _on_one_tensor(traced, node, width, name)


def _on_one_tensor(traced: Traced, node: fx.Node, width: int, name: str) -> Rule:
    """The rule of an operation on one tensor, by element or over the places of a channel."""
    if len(node.all_input_nodes) == 1 and traced.channels(node.all_input_nodes[0]) == width:
        if name in ELEMENTWISE:
            return (Activated if zero_stays(traced, node) else Shifted)(node, width)
        dims = len(traced.shapes[node.all_input_nodes[0]])
        if pools_places(name, dims) and len(traced.shapes[node]) == dims:
            return Passed(node, width)
        if name == "mean" and averaged_places(node, dims):
            return Passed(node, width)
    return Rule(node, width)


def _used_once(traced: Traced) -> Callable[[fx.Node], bool]:
    """A function that says whether only this node reads the parameters of its module."""
    calls = Counter(str(node.target) for node in traced.graph.nodes if node.op == "call_module")
    read = {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"}
    names = Counter(id(tensor) for _, tensor in traced.model.named_parameters(remove_duplicate=False))

    def once(node: fx.Node) -> bool:
        module = traced.module(node)
        assert module is not None
        tensors = {f"{node.target}.{name}" for name, _ in [*module.named_parameters(), *module.named_buffers()]}
        shared = any(names[id(parameter)] > 1 for parameter in module.parameters())
        return calls[str(node.target)] == 1 and not shared and not tensors & read

    return once


def _is_batch_size(node: fx.Node) -> bool:
    if node.op == "call_method" and node.target == "size":
        return node.args[1:] == (0,)
    if node.target is getattr and node.args[1] == "shape":
        return all(getattr(user.target, "__name__", "") == "getitem" and user.args[1] == 0 for user in node.users)
    return False


def _are_alike(traced: Traced, node: fx.Node) -> bool:
    """Whether both tensors have as many dimensions and channels; one may have a single place for many of the other."""
    shapes = [traced.shapes.get(source, ()) for source in node.all_input_nodes]
    widths = {traced.channels(source) for source in node.all_input_nodes}
    return len(shapes) == 2 and len(shapes[0]) == len(shapes[1]) and len(widths) == 1


def _joins_channels(traced: Traced, node: fx.Node) -> bool:
    parts = node.args[0] if node.args else None
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return (
        isinstance(parts, list | tuple)
        and dim in (1, 1 - len(traced.shapes[node]))
        and all(isinstance(part, fx.Node) and traced.channels(part) is not None for part in parts)
    )


def _flattens_all(traced: Traced, node: fx.Node) -> bool:
    """Whether all dimensions but the batch become one."""
    source, found = traced.shapes[node.all_input_nodes[0]], traced.shapes[node]
    return len(found) == 2 and found[0] == source[0] and len(source) >= 2
