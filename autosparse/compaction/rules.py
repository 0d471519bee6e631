"""The way of channels through each kind of operation: which can differ from 0, which are read, what computes them.

Each rule is that of one node of the graph. Sets of channels are bool tensors (channels,).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from autosparse.compaction.maker import Maker, rows_of
from autosparse.compaction.tracing import Traced
from autosparse.seeds import kept_generators

Channeled = nn.Conv1d | nn.Conv2d | nn.Conv3d


class Rule:
    """What is known of one operation.

    This base knows nothing: the operation reads all channels of its sources, and all channels of its result count.

    :param width: number of channels of its result.
    """

    def __init__(self, node: fx.Node, width: int):
        self.node, self.width = node, width
        self.sources = list(node.all_input_nodes)

    def knows_constants(self, make: Maker) -> bool:
        """Whether :meth:`build` takes constant channels apart, see :attr:`Maker.still`."""
        return False

    def nonzero(self, given: Sequence[Tensor]) -> Tensor:
        """Channels that can differ from 0, from those of the sources; no other ever does, whatever is trained."""
        return torch.ones(self.width, dtype=torch.bool)

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """The channels of each source that are read to compute ``kept``."""
        return [torch.ones_like(channels) for channels in given]

    def build(self, make: Maker) -> None:
        """Add to the new graph what computes the kept channels; here the same operation on whole tensors."""
        make.copied(self.node, make.whole, list(range(self.width)))


class Passed(Rule):
    """Each channel on its own, and 0 stays 0: activations, pooling, mean over space, dropout."""

    def nonzero(self, given: Sequence[Tensor]) -> Tensor:
        """The same channels."""
        return given[0]

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """The same channels."""
        return [kept]

    def build(self, make: Maker) -> None:
        """Add the same operation on the channels that there are."""
        make.copied(self.node, make.nodes.__getitem__, make.have[self.sources[0]])


class Activated(Passed):
    """Element by element, and 0 stays 0."""

    def knows_constants(self, make: Maker) -> bool:
        """Return True: the operation is done separately on constant channels."""
        return True

    def build(self, make: Maker) -> None:
        """Add the same operation, and once more for the constant channels."""
        [source] = self.sources
        super().build(make)
        if source in make.still:
            constant, channels = make.still[source]
            make.still[self.node] = make.graph.node_copy(self.node, lambda _: constant), channels


class Shifted(Rule):
    """Each channel on its own, but 0 becomes something else: a sigmoid, a number that is added."""

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """The same channels."""
        return [kept]

    def build(self, make: Maker) -> None:
        """Add the same operation, also on channels that are 0 before it."""
        want = make.wanted(self.node)
        make.copied(self.node, lambda source: make.carried(source, want), want)


class Normed(Shifted):
    """BatchNorm: a channel that is 0 becomes its bias."""

    def __init__(self, node: fx.Node, width: int, norm: nn.modules.batchnorm._BatchNorm):
        super().__init__(node, width)
        self.norm = norm

    def build(self, make: Maker) -> None:
        """Add a BatchNorm of fewer channels."""
        want = make.wanted(self.node)
        parts = {
            name: rows_of(tensor, want)
            for name, tensor in [*self.norm.named_parameters(), *self.norm.named_buffers()]
            if tensor.dim()
        }
        make.layer(self.node, make.carried(self.sources[0], want), parts, 1, want)


class Summed(Rule):
    """Two tensors added or subtracted, channel by channel."""

    def nonzero(self, given: Sequence[Tensor]) -> Tensor:
        """Channels that can differ from 0 in at least one of the tensors."""
        return given[0] | given[1]

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """The kept channels that can differ from 0, for each tensor."""
        return [kept & nonzero for nonzero in given]

    def build(self, make: Maker) -> None:
        """Add the same operation on both, carried to the same channels."""
        want = make.wanted(self.node)
        make.copied(self.node, lambda source: make.carried(source, want), want)


class Multiplied(Summed):
    """Two tensors multiplied, channel by channel."""

    def nonzero(self, given: Sequence[Tensor]) -> Tensor:
        """Channels that can differ from 0 in both tensors."""
        return given[0] & given[1]

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """The kept channels, from both tensors."""
        return [kept, kept]


class Joined(Rule):
    """A concatenation of channels."""

    def nonzero(self, given: Sequence[Tensor]) -> Tensor:
        """The channels of the parts, one after the other."""
        return torch.cat([given[self.sources.index(part)] for part in self._parts()])

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """The part of ``kept`` that each source has."""
        found = [torch.zeros_like(channels) for channels in given]
        parts = self._parts()
        widths = [len(given[self.sources.index(part)]) for part in parts]
        for part, needed in zip(parts, kept.split(widths), strict=True):
            found[self.sources.index(part)] |= needed
        return found

    def build(self, make: Maker) -> None:
        """Add the concatenation of the channels that there are."""
        have, start = [], 0
        for part in self._parts():
            have += [start + channel for channel in make.have[part]]
            start += make.traced.channels(part) or 0
        make.copied(self.node, make.nodes.__getitem__, have)

    def _parts(self) -> list[fx.Node]:
        return list(self.node.args[0])  # type: ignore[arg-type]


class Flattened(Rule):
    """A flatten: (batch, channels, ...) -> (batch, channels * places)."""

    def __init__(self, node: fx.Node, width: int):
        super().__init__(node, width)
        self.sources = self.sources[:1]  # a view may take the batch size from another node

    def nonzero(self, given: Sequence[Tensor]) -> Tensor:
        """All places of a channel."""
        return given[0].repeat_interleave(self.width // len(given[0]))

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """The channels of which any place is read."""
        return [kept.view(len(given[0]), -1).any(1)]

    def build(self, make: Maker) -> None:
        """Add a flatten of the channels that there are."""
        source = self.sources[0]
        places = self.width // (make.traced.channels(source) or 1)
        make.nodes[self.node] = make.graph.call_method("flatten", (make.nodes[source], 1))
        make.have[self.node] = [c * places + place for c in make.have[source] for place in range(places)]


class BatchSize(Rule):
    """``x.size(0)``, which is the same for any channels."""

    def needed(self, kept: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """None of the channels."""
        return [torch.zeros_like(channels) for channels in given]

    def build(self, make: Maker) -> None:
        """Add the same operation on the channels that there are."""
        make.copied(self.node, make.nodes.__getitem__, [])


def zero_stays(traced: Traced, node: fx.Node) -> bool:
    """Whether an operation on one tensor, element by element, gives 0 for 0."""
    zero = torch.zeros(1, 1, 1)
    args = fx.map_arg(node.args, lambda _: zero)
    kwargs = fx.map_arg(node.kwargs, lambda _: zero)
    with kept_generators(zero.device):  # dropout draws
        if (module := traced.module(node)) is not None:
            result = module(*args, **kwargs)
        elif node.op == "call_method":
            result = getattr(args[0], str(node.target))(*args[1:], **kwargs)
        else:
            result = node.target(*args, **kwargs)  # type: ignore[operator]
    return not result.any()
