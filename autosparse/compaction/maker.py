"""Makes the compact network's graph, node by node."""

import operator
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn

from autosparse.compaction.layers import Beside, Carry, resized
from autosparse.compaction.sparse import SparseLinear
from autosparse.compaction.split import SplitLinear
from autosparse.compaction.tracing import Traced

Channels = list[int]
"""The channels of the full network's tensor that a tensor of the compact one holds, in their order."""


class Maker:
    """The part of the compact network that has been made so far.

    :param kept: by node of the full graph the channels that must be computed, bool (channels,).
    :param sparse: whether Linear layers may be sparse, see :class:`autosparse.compaction.sparse.SparseLinear`.
    :ivar nodes: by node of the full graph the one that computes the same in the new graph.
    :ivar have: by node of the full graph the channels that its new node holds.
    """

    def __init__(self, traced: Traced, kept: dict[fx.Node, Tensor], sparse: bool = False):
        self.traced, self.kept, self.sparse = traced, kept, sparse
        self.graph = fx.Graph()
        self.nodes: dict[fx.Node, fx.Node] = {}
        self.have: dict[fx.Node, Channels] = {}
        self.still: dict[fx.Node, tuple[fx.Node, Channels]] = {}
        """By node of the full graph a new node with the channels that are the same for every example, (1, channels)."""
        self.modules: dict[str, nn.Module] = {}
        self.places: dict[str, Tensor] = {}
        """By the name of a tensor of which only a part is left: its flat positions in the full one, in its shape."""

    def wanted(self, node: fx.Node) -> Channels:
        """The channels of ``node`` that must be computed."""
        return self.kept[node].nonzero().squeeze(1).tolist()

    def carried(self, node: fx.Node, want: Channels) -> fx.Node:
        """The node of the new graph that holds just these channels of ``node``; channels not computed are 0."""
        if self.have[node] == want:
            return self.nodes[node]
        name = f"autosparse_carry_{len(self.modules)}"
        device = next((p.device for p in self.traced.model.parameters()), torch.device("cpu"))
        self.modules[name] = Carry(self.have[node], want).to(device)
        return self.graph.call_module(name, (self.nodes[node],))

    def join(self, node: fx.Node) -> None:
        """Put the constant channels of ``node`` beside the others, for an operation that treats all alike."""
        if node in self.still:
            constant, channels = self.still.pop(node)
            self.modules.setdefault("autosparse_beside", Beside())
            self.nodes[node] = self.graph.call_module("autosparse_beside", (self.nodes[node], constant))
            self.have[node] = self.have[node] + channels

    def whole(self, node: fx.Node) -> fx.Node:
        """The node of the new graph that holds all channels of ``node``."""
        width = self.traced.channels(node)
        return self.nodes[node] if width is None else self.carried(node, list(range(width)))

    def copied(self, node: fx.Node, source: Callable[[fx.Node], fx.Node], have: Channels) -> None:
        """Add the operation of ``node`` on other tensors; its result holds the channels ``have``."""
        if (module := self.traced.module(node)) is not None:
            self.modules[str(node.target)] = module
        self.nodes[node] = self.graph.node_copy(node, source)
        self.have[node] = have

    def layer(self, node: fx.Node, x: fx.Node, parts: dict[str, Tensor], groups: int, have: Channels) -> None:
        """Add the layer of ``node`` with fewer channels.

        :param x: what it reads, a node of the new graph.
        :param parts: by the name of a parameter or buffer the positions of what is left of it, see :attr:`places`.
        :param groups: number of groups of a convolution.
        :param have: the channels that its result holds.
        """
        target, module = str(node.target), self.traced.module(node)
        assert module is not None
        tensors = {}
        for name, positions in parts.items():
            full = getattr(module, name)
            self.places[f"{target}.{name}"] = positions.to(full.device)
            tensors[name] = full.detach().flatten()[positions.to(full.device)]
        self.modules[target] = resized(module, tensors, groups)
        self.nodes[node] = self.graph.call_module(target, (x,))
        self.have[node] = have

    def split(self, node: fx.Node, source: fx.Node, live: tuple[int, int]) -> None:
        """Let the Linear layer that was added for ``node`` compute once what is the same for every example.

        :param live: numbers of rows and of columns that differ from example to example.
        """
        layer, built = self.modules[str(node.target)], self.nodes[node]
        assert isinstance(layer, nn.Linear)
        self.modules[str(node.target)] = SplitLinear(layer, live)
        if source in self.still:
            built.args = (*built.args, self.still[source][0])
        parts = [self.graph.call_function(operator.getitem, (built, index)) for index in (0, 1)]
        have = self.have[node]
        self.nodes[node], self.have[node] = parts[0], have[: live[0]]
        if len(have) > live[0]:
            self.still[node] = parts[1], have[live[0] :]

    def sparsify(self, node: fx.Node, kept: Tensor) -> None:
        """Let the Linear layer that was added for ``node`` hold only the ``kept`` weights, bool (rows, columns)."""
        target = str(node.target)
        layer = self.modules[target]
        assert isinstance(layer, nn.Linear)
        self.modules[target] = SparseLinear(layer, kept)
        self.places[f"{target}.weight"] = self.places[f"{target}.weight"][kept]


def rows_of(full: Tensor, rows: Sequence[int]) -> Tensor:
    """The flat positions of whole rows of ``full``."""
    return torch.arange(full.numel()).view(full.shape)[list(rows)]
