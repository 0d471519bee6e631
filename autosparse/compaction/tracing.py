"""A network's forward as a graph of operations on tensors whose shapes are known."""

import contextlib
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor, fx, nn

from autosparse.compaction.compiled import CompiledGraph
from autosparse.compaction.side_effects import Watched
from autosparse.seeds import generator_states, kept_generators
from autosparse.users_code import kind_and_line

EXAMPLES = 3
"""Number of examples in the trial that finds the shapes."""


class NotFollowed(Exception):
    """Why a network stays whole, in a few words."""


@dataclass(frozen=True)
class Traced:
    """What a network computes, step by step."""

    model: nn.Module
    graph: fx.Graph
    shapes: dict[fx.Node, tuple[int, ...]]
    """The shape of every node that is one tensor, for a batch of ``EXAMPLES``."""
    storages: dict[fx.Node, int]
    """The address of the memory that each of these tensors lies in; aliases have the same."""
    draws: bool = False
    """Whether the forward draws at random in training mode."""

    def channels(self, node: fx.Node) -> int | None:
        """How many channels a node's tensor (batch, channels, ...) has; None if it is not such a tensor."""
        shape = self.shapes.get(node, ())
        return shape[1] if len(shape) > 1 and shape[0] == EXAMPLES else None

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls; None if it calls none."""
        return self.model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def operation(self, node: fx.Node) -> str:
        """The name of what a node does, in lower case without underscores.

        ``nn.ReLU``, ``F.relu`` and ``x.relu_()`` are all ``relu``.
        """
        module = self.module(node)
        name = type(module).__name__ if module else getattr(node.target, "__name__", str(node.target))
        return name.lower().replace("_", "")


def traced(model: nn.Module, input_shape: tuple[int, ...]) -> Traced:
    """The graph of ``model``'s forward, with the shapes of its tensors.

    The model and all generators are left as they are.

    :param input_shape: shape of one example.
    :raises NotFollowed: if the forward cannot be traced, differs between training and evaluation, reads a tensor that
        an operation in place has changed under another name, changes a buffer or a number of the network, or draws at
        random in Python: the graph would keep what was drawn.
    """
    probe = copy.deepcopy(model)
    watched = Watched(probe)
    first = next(probe.parameters(), torch.zeros(()))
    example = torch.zeros(EXAMPLES, *input_shape, device=first.device, dtype=first.dtype)
    with kept_generators(example.device), _kept_python_generators():
        try:
            before = _states(example.device)
            evaluating = fx.Tracer().trace(probe.eval()).python_code("self").src
            module = CompiledGraph(probe.train(), fx.Tracer().trace(probe))
            decides_at_random = _states(example.device) != before
            alike = evaluating == module.graph.python_code("self").src
            run = _Run(module)
            with torch.no_grad():
                run.run(example)
        except Exception as error:  # whatever a forward raises on symbols
            raise NotFollowed(f"its forward cannot be traced ({kind_and_line(error)})") from error
        draws = _states(example.device) != before
    if decides_at_random:
        raise NotFollowed("its forward draws at random outside of the graph")
    if not alike:
        raise NotFollowed("its forward differs between training and evaluation")
    called = [str(node.target) for node in module.graph.nodes if node.op == "call_module"]
    if changed := watched.changed(called):
        raise NotFollowed(f"its forward changes {changed!r}")
    found = Traced(model, module.graph, run.shapes, run.storages, draws)
    _refuse_overwriting(found)
    module.graph.eliminate_dead_code()  # last: it would drop an operation in place whose result has no other name
    return found


class _Run(fx.Interpreter):
    """Runs a graph and notes the shapes and addresses of its tensors; torch.fx's own pass takes a second to import."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module, garbage_collect_values=False)  # else a later tensor may take a dead one's address
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.storages: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n] = tuple(result.shape)
            self.storages[n] = result.untyped_storage().data_ptr()
        return result


def _states(device: torch.device) -> tuple[object, ...]:
    """The states of all generators that a forward may draw from."""
    _, key, position, *_ = numpy.random.get_state()
    torchs = generator_states(device).numpy().tobytes()
    return torchs, random.getstate(), numpy.asarray(key).tobytes(), position


@contextlib.contextmanager
def _kept_python_generators() -> Iterator[None]:
    """Restore the generators of ``random`` and NumPy after the block."""
    pythons, numpys = random.getstate(), numpy.random.get_state()
    try:
        yield
    finally:
        random.setstate(pythons)
        numpy.random.set_state(numpys)


def _refuse_overwriting(found: Traced) -> None:
    """Raise :class:`NotFollowed` if an operation in place changes a tensor that is read later under another name."""
    place = {node: index for index, node in enumerate(found.graph.nodes)}
    for node in found.graph.nodes:
        if not _is_in_place(found, node):
            continue
        for name in _names_before(found, node, place):
            if any(place[user] > place[node] for user in name.users):
                raise NotFollowed(f"{node.name!r} overwrites a tensor that is read again")


def _names_before(found: Traced, node: fx.Node, place: dict[fx.Node, int]) -> list[fx.Node]:
    """The tensor that ``node`` overwrites, and earlier ones in the same memory."""
    changed = node.kwargs.get("out") or node.all_input_nodes[0]
    if not isinstance(changed, fx.Node):
        raise NotFollowed(f"{node.name!r} writes to several tensors")
    memory = found.storages.get(changed)
    aliases = [other for other, place_of in found.storages.items() if place_of == memory and place[other] < place[node]]
    return [changed, *aliases]


def _is_in_place(found: Traced, node: fx.Node) -> bool:
    if not node.all_input_nodes:
        return False
    name = getattr(node.target, "__name__", str(node.target))
    says_so = name.endswith("_") and not name.startswith("__")
    is_operator = name.strip("_") in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "setitem")
    is_told = getattr(found.module(node), "inplace", node.kwargs.get("inplace", False)) or node.kwargs.get("out")
    return (node.op != "call_module" and (says_so or is_operator)) or bool(is_told)
