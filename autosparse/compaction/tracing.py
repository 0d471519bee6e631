"""A network's forward as a graph of operations on tensors whose shapes are known."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from autosparse.seeds import generator_states, kept_generators

EXAMPLES = 3
"""Examples in the trial that finds the shapes."""


class NotFollowed(Exception):
    """Why a network stays whole, in a few words."""


@dataclass(frozen=True)
class Traced:
    """What a network computes, step by step."""

    model: nn.Module
    graph: fx.Graph
    shapes: dict[fx.Node, tuple[int, ...]]
    """The shape of every node that is one tensor, for a batch of ``EXAMPLES``."""
    draws: bool = False
    """Whether the forward draws at random in training mode."""

    def channels(self, node: fx.Node) -> int | None:
        """How many channels a node's tensor (batch, channels, ...) has; None if it is no such tensor."""
        shape = self.shapes.get(node, ())
        return shape[1] if len(shape) > 1 and shape[0] == EXAMPLES else None

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls; None if it calls none."""
        return self.model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def operation(self, node: fx.Node) -> str:
        """The name of what a node does, in lower case without underscores: ``nn.ReLU``, ``F.relu`` and ``x.relu_()``
        are all ``relu``."""
        module = self.module(node)
        name = type(module).__name__ if module else getattr(node.target, "__name__", str(node.target))
        return name.lower().replace("_", "")


def traced(model: nn.Module, input_shape: tuple[int, ...]) -> Traced:
    """The graph of ``model``'s forward, with the shapes of its tensors; the model is left as it is.

    :raises NotFollowed: if the forward cannot be traced, is another one in training, or is observed by hooks.
    """
    for name, module in model.named_modules():
        if _has_hooks(module):
            raise NotFollowed(f"a hook watches {name!r}" if name else "a hook watches it")
    if any(parameter._backward_hooks for parameter in model.parameters()):
        raise NotFollowed("a hook watches a gradient")
    probe = copy.deepcopy(model)
    first = next(probe.parameters(), torch.zeros(()))
    example = torch.zeros(EXAMPLES, *input_shape, device=first.device, dtype=first.dtype)
    try:
        other = fx.Tracer().trace(probe.eval()).python_code("self").src
        module = fx.GraphModule(probe.train(), fx.Tracer().trace(probe))
        graph = module.graph
        same = other == graph.python_code("self").src
        graph.eliminate_dead_code()
        with torch.no_grad(), kept_generators(example.device):
            before = generator_states(example.device)
            watched = _Shapes(module)
            watched.run(example)
            draws = not torch.equal(before, generator_states(example.device))
    except Exception as error:  # whatever a forward raises on symbols
        raise NotFollowed(f"its forward cannot be traced ({_first_line(error)})") from error
    if not same:
        raise NotFollowed("its forward is another one in training")
    found = Traced(model, graph, watched.found, draws)
    _refuse_overwriting(found)
    return found


class _Shapes(fx.Interpreter):
    """Runs a graph, and notes the shapes of its tensors. (``torch.fx``'s own pass takes a second to import.)"""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        self.found: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.found[n] = tuple(result.shape)
        return result


def _has_hooks(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def _refuse_overwriting(found: Traced) -> None:
    """An operation in place is followed only if nobody reads afterwards what it has changed under another name."""
    place = {node: index for index, node in enumerate(found.graph.nodes)}
    for node in found.graph.nodes:
        if _in_place(found, node) and any(place[user] > place[node] for user in node.all_input_nodes[0].users):
            raise NotFollowed(f"{node.name!r} overwrites a tensor that is read again")


def _in_place(found: Traced, node: fx.Node) -> bool:
    if not node.all_input_nodes:
        return False
    name = getattr(node.target, "__name__", str(node.target))
    in_place = node.op == "call_method" and name.endswith("_") and not name.startswith("__")
    operator = node.op == "call_function" and name in ("iadd", "isub", "imul", "itruediv")
    return in_place or operator or bool(getattr(found.module(node), "inplace", node.kwargs.get("inplace", False)))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
